"""What becomes of each request: verified, held against what was there before, answered as one wants it, and told.

Memory is bounded whatever is sent: the size of a body, how many are read at once, how many ids are remembered.
"""

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Literal

import anyio
from aiohttp import web

from poller.app.receiver.messages import Message, read_message
from poller.app.receiver.verifying import TOLERANCE, SignatureError, verify

LARGEST: Final = 1024 * 1024
"""Bytes of a body; an event has some kilobytes, and no bus takes more than 256 of them."""
MOST_AT_ONCE: Final = 1000
"""Requests that are answered side by side."""
MOST_HELD: Final = 64 * LARGEST
"""Bytes of their bodies, all together."""
MOST_IDS: Final = 10_000
"""Webhooks that are remembered, the newest ones, to know them again."""
MOST_TYPES: Final = 100
"""Types that are counted each by itself."""
READ_SECONDS: Final = 30.0
"""How long a body is waited for."""

Verdict = Literal["accepted", "repeated", "failed", "refused"]
"""accepted: right, and new · repeated: right, and accepted before · failed: right, and answered with a failure since
that is wanted · refused: not to be trusted, or no webhook at all."""


@dataclass(frozen=True, slots=True)
class Answers:
    """How requests that are right are answered.

    `accepted` is the status that says so. `failing`, if there is one, is given instead, to every request or to the
    `fail_first` ones, with `retry_after` as Retry-After. Each answer comes after `delay`.
    """

    accepted: int = 204
    failing: int | None = None
    fail_first: int | None = None
    retry_after: timedelta | None = None
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request, and what became of it.

    `reason` says why it was refused. `secret` is the place of the secret that it was signed with, from 1; None if
    nothing was verified. `attempt` counts the requests of one `webhook_id`, from 1; `changed` says that its content was
    another one before.
    """

    at: datetime
    verdict: Verdict
    status: int
    method: str
    path: str
    headers: Mapping[str, str]
    message: Message | None = None
    reason: str | None = None
    webhook_id: str | None = None
    replay_id: str | None = None
    secret: int | None = None
    attempt: int = 1
    changed: bool = False


@dataclass(slots=True)
class _Known:
    """What is remembered of a webhook."""

    digest: bytes
    attempts: int = 1
    accepted: bool = False


@dataclass(slots=True)
class Tally:
    """How often what happened."""

    verdicts: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)


class _RefusalError(Exception):
    """A request that is not even looked at. `cause` is one of few words."""

    def __init__(self, status: int, cause: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.cause = cause


class Receiver:
    """Answers requests, and tells each of them to `take`, before its answer is sent.

    Args: without `secrets` nothing is verified. `now` and `sleep` are this machine's.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        take: Callable[[Receipt], Awaitable[None]],
        *,
        answers: Answers | None = None,
        tolerance: timedelta = TOLERANCE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.tally = Tally()
        self._secrets = tuple(secrets)
        self._take = take
        self._answers = answers or Answers()
        self._tolerance = tolerance
        self._now = now
        self._sleep = sleep
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._to_fail = self._answers.fail_first
        self._at_once = 0
        self._held = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one request."""
        weight = _weight(request)
        full = self._at_once >= MOST_AT_ONCE or self._held + weight > MOST_HELD
        self._at_once += 1
        self._held += weight
        try:
            return await self._answer(request, full=full)
        finally:
            self._at_once -= 1
            self._held -= weight

    async def _answer(self, request: web.Request, *, full: bool) -> web.Response:
        try:
            if full:
                raise _RefusalError(503, "too many at once", "too many requests are being answered already")
            body = await self._body(request)
        except _RefusalError as error:
            receipt = self._receipt(request, "refused", error.status, reason=str(error))
            self.tally.causes[error.cause] += 1
        else:
            receipt = self._judged(request, body)
        self._count(receipt)
        await self._take(receipt)
        if self._answers.delay and receipt.verdict != "refused":
            await self._sleep(self._answers.delay.total_seconds())
        return self._response(receipt)

    async def _body(self, request: web.Request) -> bytes:
        """The body of a request. Raises: _RefusalError."""
        if request.method != "POST":
            raise _RefusalError(405, "not a POST", f"{request.method[:20]}: webhooks are sent by POST")
        try:
            with anyio.fail_after(READ_SECONDS):
                return await request.read()
        except TimeoutError:
            raise _RefusalError(408, "too slow", f"its body did not come within {READ_SECONDS:g} s") from None
        except web.HTTPRequestEntityTooLarge:
            raise _RefusalError(413, "too large", f"its body is larger than {LARGEST // 1024} KiB") from None
        except web.HTTPException as error:
            raise _RefusalError(error.status, "not readable", f"its body cannot be read: {error.reason}") from None

    def _judged(self, request: web.Request, body: bytes) -> Receipt:
        message = read_message(request.headers, body)
        identity = request.headers.get("webhook-id")
        secret = None
        if self._secrets:
            try:
                secret = verify(request.headers, body, self._secrets, now=self._now(), tolerance=self._tolerance)
            except SignatureError as error:
                self.tally.causes[error.cause] += 1
                return self._receipt(request, "refused", 401, message=message, reason=str(error), webhook_id=identity)
        known, changed = self._remember(identity, body)
        failing = self._fails()
        if failing is not None:
            verdict: Verdict = "failed"
        else:
            verdict = "repeated" if known.accepted else "accepted"
            known.accepted = True
        return self._receipt(
            request,
            verdict,
            self._answers.accepted if failing is None else failing,
            message=message,
            webhook_id=identity,
            secret=secret,
            attempt=known.attempts,
            changed=changed,
        )

    def _remember(self, identity: str | None, body: bytes) -> tuple[_Known, bool]:
        """What is known of a webhook with this one counted, and whether its content was another one before."""
        digest = sha256(body).digest()
        if identity is None:
            return _Known(digest), False
        known = self._known.get(identity)
        if known is None:
            self._known[identity] = known = _Known(digest)
            if len(self._known) > MOST_IDS:
                self._known.popitem(last=False)
            return known, False
        self._known.move_to_end(identity)
        known.attempts += 1
        return known, known.digest != digest

    def _fails(self) -> int | None:
        """The status to fail the next request with, if it is to fail."""
        if self._answers.failing is None or self._to_fail == 0:
            return None
        if self._to_fail is not None:
            self._to_fail -= 1
        return self._answers.failing

    def _receipt(
        self,
        request: web.Request,
        verdict: Verdict,
        status: int,
        *,
        message: Message | None = None,
        reason: str | None = None,
        webhook_id: str | None = None,
        secret: int | None = None,
        attempt: int = 1,
        changed: bool = False,
    ) -> Receipt:
        return Receipt(
            at=self._now(),
            verdict=verdict,
            status=status,
            method=request.method,
            path=request.path,
            headers=request.headers,
            message=message,
            reason=reason,
            webhook_id=webhook_id,
            replay_id=request.headers.get("replay-id"),
            secret=secret,
            attempt=attempt,
            changed=changed,
        )

    def _count(self, receipt: Receipt) -> None:
        self.tally.verdicts[receipt.verdict] += 1
        if receipt.verdict == "accepted" and receipt.message is not None:
            name = receipt.message.attribute("type") or "raw"
            types = self.tally.types
            types[name if name in types or len(types) < MOST_TYPES else "other"] += 1

    def _response(self, receipt: Receipt) -> web.Response:
        if receipt.verdict == "refused":
            headers = {"Allow": "POST"} if receipt.status == 405 else None
            return web.Response(status=receipt.status, text=f"{receipt.reason}\n", headers=headers)
        wait = self._answers.retry_after
        if receipt.verdict == "failed" and wait is not None:
            return web.Response(status=receipt.status, headers={"Retry-After": str(int(wait.total_seconds()))})
        return web.Response(status=receipt.status)


def _weight(request: web.Request) -> int:
    """The most bytes that the body of a request can have."""
    length = request.content_length
    return LARGEST if length is None or "content-encoding" in request.headers else min(length, LARGEST)
