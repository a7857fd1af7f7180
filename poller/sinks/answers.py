"""What a far end said, for an error text: little of it is read, and it is shown without secrets, on one line."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import anyio

READ_LIMIT: Final = 2048
"""Bytes of an answer that are read: enough to say what is wrong, too few to hurt."""
EXCERPT: Final = 300
"""Characters of an answer that an error shows."""
DRAIN_SECONDS: Final = 0.5
"""How long the rest of an answer is waited for, once its status is known; a later rest costs a new connection."""
CROWDED: Final = frozenset({429, 503})
"""Statuses of a far end that has too much to do: fewer sends at once."""


async def drain(answer: aiohttp.ClientResponse) -> bytes:
    """The beginning of an answer's body. Reading it lets the connection be used again; one that hangs is dropped."""
    body = b""
    if not answer.content.at_eof():
        with anyio.move_on_after(DRAIN_SECONDS):
            try:
                while len(body) < READ_LIMIT and (chunk := await answer.content.read(READ_LIMIT - len(body))):
                    body += chunk
            except aiohttp.ClientError:
                pass  # the status is known, and it is what counts
    return body


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """`Retry-After` as a wait: seconds, or the time until an HTTP date; None for what is neither."""
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return timedelta(seconds=int(value))
    try:
        until = parsedate_to_datetime(value)
        return max(timedelta(0), until.replace(tzinfo=until.tzinfo or UTC) - now)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def hidden_texts(secrets: Iterable[str]) -> tuple[str, ...]:
    """Secrets as they are looked for: none that is empty, the longest first, so that no part of one is left."""
    return tuple(sorted({text for text in secrets if text}, key=len, reverse=True))


def one_line(text: str, hidden: Iterable[str] = ()) -> str:
    """Text of a far end as one line: without the secrets in it (`hidden_texts`), without control characters."""
    for secret in hidden:
        text = text.replace(secret, "***")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def shown(text: str, hidden: Iterable[str]) -> str:
    """The beginning of what a far end said, as `one_line` gives it."""
    line = one_line(text, hidden)
    return line if len(line) <= EXCERPT else line[:EXCERPT] + "…"
