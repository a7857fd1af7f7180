"""Pages of lists and the tokens between them. Pure: the instant of each call comes in.

A token holds a place in its list and the instant at which it was given out, sealed with the filters that it belongs to.
The place is a cursor, the key of the last item read, or an offset, the number of items read: with offsets a page is
cut from the list as it is by then, so that an item is seen twice where others joined before it, and is passed over
where others left.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

from poller.emulator.errors import Refused, not_valid
from poller.emulator.instants import SECOND
from poller.emulator.requests import Conditions, Request

Mode = Literal["cursor", "offset"]
MODES: Final[tuple[str, ...]] = get_args(Mode)
PAGE: Final = 100
BEGINNING: Final = -1  # a cursor before all keys

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The page that a request wants: `limit` items behind the key `after`, or behind the first `skip`."""

    limit: int
    after: int | None
    skip: int
    filters: tuple[object, ...]


class Paging:
    """How lists are cut into pages; both may be changed at any time. `token_seconds` (real ones): how long a token is
    good; None: for ever.
    """

    def __init__(self, mode: Mode = "cursor", token_seconds: float | None = None) -> None:
        self.mode, self.token_seconds = mode, token_seconds

    def wanted(
        self, request: Request, conditions: Conditions, filters: tuple[object, ...], *, size: str = "maxResults"
    ) -> Wanted:
        """Raises: Refused (ValidationException) for a size, or for a token that is not of this list or has expired."""
        given = request.one(size)
        if given is not None and not (given.isdecimal() and len(given) < 5 and 1 <= int(given) <= 100):
            raise not_valid(size, given, "Member must have value between 1 and 100")
        limit = PAGE if given is None else int(given)
        if conditions.short is not None:
            limit = min(limit, conditions.short)
        token = request.one("startingToken")
        if token is None:
            return Wanted(limit, None, 0, filters)
        mode, place = self._opened(token, filters, conditions.now)
        return Wanted(limit, place if mode == "c" else None, place if mode == "o" else 0, filters)

    def next_token(
        self, wanted: Wanted, conditions: Conditions, *, number: int, last: int | None, more: bool
    ) -> str | None:
        """The token behind a page of `number` items whose last one has the key `last`; None if nothing follows.

        A page that was made short always has one.
        """
        if not more and conditions.short is None:
            return None
        if self.mode == "offset":
            return _sealed(wanted.filters, conditions.now, "o", wanted.skip + number)
        place = last if last is not None else wanted.after if wanted.after is not None else BEGINNING
        return _sealed(wanted.filters, conditions.now, "c", place)

    def cut(
        self, entries: Iterable[tuple[int, T]], wanted: Wanted, conditions: Conditions
    ) -> tuple[list[T], str | None]:
        """A page of entries that are in order of their keys, and the token behind it."""
        page: list[T] = []
        skip, last, more = wanted.skip, None, False
        for key, item in entries:
            if wanted.after is not None and key <= wanted.after:
                continue
            if skip:
                skip -= 1
                continue
            if len(page) == wanted.limit:
                more = True
                break
            page.append(item)
            last = key
        return page, self.next_token(wanted, conditions, number=len(page), last=last, more=more)

    def _opened(self, token: str, filters: tuple[object, ...], now: int) -> tuple[str, int]:
        try:
            _, mode, given, place = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().split(":")
            issued, key = int(given, 16), int(place, 16)
        except (ValueError, binascii.Error):
            raise _not_valid() from None
        if _sealed(filters, issued, mode, key) != token:
            raise _not_valid()
        if self.token_seconds is not None and now - issued >= self.token_seconds * SECOND:
            raise Refused("ValidationException", "The startingToken has expired")
        return mode, key


def _not_valid() -> Refused:
    return Refused("ValidationException", "The startingToken is not valid for this request")


def _sealed(filters: tuple[object, ...], now: int, mode: str, place: int) -> str:
    seal = hashlib.sha256(repr(filters).encode()).hexdigest()[:12]
    return base64.urlsafe_b64encode(f"{seal}:{mode}:{now:x}:{place:x}".encode()).decode().rstrip("=")
