"""Is a webhook's signature right, and if not, why: Standard Webhooks, the signature itself by their own library.

Pure: the time comes in. Source: github.com/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from standardwebhooks import Webhook

from poller.core.values import format_duration

TOLERANCE: Final = timedelta(minutes=5)
"""How far a timestamp may be off, as in the libraries of Standard Webhooks."""

HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")


class SignatureError(Exception):
    """A request is not to be trusted. `cause` is one of few words, for counting; the message says it in full."""

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    *,
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> int:
    """Which of the secrets the request was signed with, counted from 1.

    Args: `headers` by any spelling of their names, as HTTP has them; `secrets` as `whsec_…`.
    Raises: SignatureError, with what the sender, or whoever holds the secrets, has to mend.
    """
    identity, at, signatures = (headers.get(name, "") for name in HEADERS)
    missing = [name for name in HEADERS if not headers.get(name)]
    if missing:
        unsigned = missing == ["webhook-signature"]
        hint = ": the sender does not sign, give it the secret" if unsigned else ": is this a webhook at all?"
        raise SignatureError("a header is missing", f"there is no {' and no '.join(missing)}{hint}")
    moment = _moment(at)
    _compare(moment, now, tolerance)
    given = [signature.removeprefix("v1,") for signature in signatures.split(" ") if signature.startswith("v1,")]
    if not given:
        raise SignatureError(
            "no v1 signature", "webhook-signature holds no signature that begins with v1, which is the one by secrets"
        )
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise SignatureError("the body is no text", "the body is no UTF-8 text, so nothing can be verified") from None
    for number, secret in enumerate(secrets, start=1):
        expected = Webhook(secret).sign(identity, moment, text).removeprefix("v1,")
        if any(_same(expected, one) for one in given):
            return number
    what = "the signature does" if len(given) == 1 else f"none of the {len(given)} signatures does"
    which = "the secret" if len(secrets) == 1 else f"any of the {len(secrets)} secrets"
    verb = "not fit" if len(given) == 1 else "fit"
    hint = "the sender has another one, or the body was changed on its way"
    raise SignatureError("no signature fits", f"{what} {verb} {which}: {hint}")


def _moment(text: str) -> datetime:
    if re.fullmatch(r"[0-9]{1,11}", text) is None:
        raise SignatureError("the timestamp is none", "webhook-timestamp is no whole number of seconds since 1970")
    return datetime.fromtimestamp(int(text), UTC)


def _compare(moment: datetime, now: datetime, tolerance: timedelta) -> None:
    """A request that was caught on its way must not be of use for long."""
    off = timedelta(seconds=round((now - moment).total_seconds()))
    if abs(off) <= tolerance:
        return
    allowed = f"{format_duration(tolerance)} is allowed"
    if off > timedelta(0):
        hint = "an old request was sent again without being signed anew, or a clock is wrong"
        raise SignatureError("too old", f"webhook-timestamp is {format_duration(off)} old, {allowed}: {hint}")
    raise SignatureError(
        "too new", f"webhook-timestamp is {format_duration(-off)} in the future, {allowed}: a clock is wrong"
    )


def _same(expected: str, given: str) -> bool:
    """By the bytes that base64 stands for, in a time that says nothing of them."""
    try:
        decoded = base64.b64decode(given + "=" * (-len(given) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(base64.b64decode(expected), decoded)
