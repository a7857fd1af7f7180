"""The answer of a far end over HTTP, of which little is read, and little is waited for."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import anyio

READ_LIMIT: Final = 2048
"""Bytes of an answer that are read: enough to say what is wrong, too few to hurt."""
DRAIN_SECONDS: Final = 0.5
"""How long the rest of an answer is waited for, once its status is known; a later rest costs a new connection."""
CROWDED: Final = frozenset({429, 503})
"""Statuses of a far end that has too much to do: fewer sends at once."""


async def drain(answer: aiohttp.ClientResponse) -> bytes:
    """The beginning of an answer's body. Reading it lets the connection be used again; one that hangs is dropped."""
    body = bytearray()
    if not answer.content.at_eof():
        with anyio.move_on_after(DRAIN_SECONDS), suppress(aiohttp.ClientError):  # the status is known, and counts
            await _read(answer, body, READ_LIMIT)
    return bytes(body)


async def whole(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """An answer's body, of which more than `limit` bytes are not read. Raises: aiohttp.ClientError if it breaks off."""
    body = bytearray()
    await _read(answer, body, limit)
    return bytes(body)


async def _read(answer: aiohttp.ClientResponse, body: bytearray, limit: int) -> None:
    while len(body) < limit and (chunk := await answer.content.read(limit - len(body))):
        body += chunk


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
