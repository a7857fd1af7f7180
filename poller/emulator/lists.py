"""What lists show: the runs that exist now, kept sorted by what they can be filtered by, so that a page costs the same
among ten runs and among a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final, Literal, get_args

from poller.emulator.keys import Keys
from poller.emulator.lives import GONE
from poller.emulator.runs import Run

Order = Literal["newest", "oldest", "arbitrary"]
Shown = Callable[[Run], bool]
ORDERS: Final[tuple[str, ...]] = get_args(Order)
SCRAMBLE: Final = 0x9E3779B97F4A7C15F39CD  # odd, so that multiplying by it modulo a power of two keeps keys apart
KEY_BITS: Final = 84
NO_KEYS: Final = Keys()


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of ListRuns; None: not filtered by it. `name` is compared whole, as the model does not speak of
    prefixes.
    """

    status: str | None = None
    run_group_id: str | None = None
    batch_id: str | None = None
    name: str | None = None

    def match(self, run: Run, status: str) -> bool:
        spec = run.spec
        return (
            (self.status == status if self.status is not None else status != "DELETED")
            and (self.run_group_id is None or self.run_group_id == spec.run_group_id)
            and (self.batch_id is None or self.batch_id == spec.batch_id)
            and (self.name is None or self.name == spec.name)
        )

    def lists(self) -> list[tuple[str, str]]:
        """The sorted lists that each hold all matching runs. A DELETED run is in none but that of its status."""
        if self.status == "DELETED":
            return [("status", "DELETED")]
        named = (
            ("status", self.status),
            ("group", self.run_group_id),
            ("batch", self.batch_id),
            ("name", self.name),
        )
        return [(kind, value) for kind, value in named if value is not None] or [("all", "")]

    @property
    def number(self) -> int:
        return sum(value is not None for value in (self.status, self.run_group_id, self.batch_id, self.name))


class KeyMaker:
    """Numbers by which ascending lists are in the wanted order of creation."""

    def __init__(self, order: Order) -> None:
        self._order, self._numbers = order, count()

    def key(self, created: int) -> int:
        rising = ((created + (1 << 58)) << 24) | (next(self._numbers) & 0xFFFFFF)
        if self._order == "oldest":
            return rising
        return (1 << KEY_BITS) - rising if self._order == "newest" else rising * SCRAMBLE % (1 << KEY_BITS)


class Lists:
    """The runs that exist, by key, and the sorted lists of their keys."""

    def __init__(self) -> None:
        self.by_key: dict[int, Run] = {}
        self._lists: dict[tuple[str, str], Keys] = {}

    def move(self, run: Run, old: str | None, new: str) -> None:
        """Take the run from the lists of its old status (None: it is new) to those of its new one."""
        if old is None:
            self.by_key[run.key] = run
        else:
            self._take(("status", old), run)
        was_listed = old is not None and old != "DELETED"
        is_listed = new not in {"DELETED", GONE}
        if is_listed != was_listed:
            for name in _standing_lists(run):
                (self._put if is_listed else self._take)(name, run)
        if new == GONE:
            del self.by_key[run.key]
        else:
            self._put(("status", new), run)

    def page(
        self, filters: Filters, limit: int, after: int | None, shown: Shown | None = None, *, skip: int = 0
    ) -> tuple[list[Run], bool]:
        """Up to `limit` runs behind the key `after`, or behind the first `skip`; and whether more follow.

        `shown`: which runs are to be seen at all; None: all.
        """
        keys = min((self._lists.get(name, NO_KEYS) for name in filters.lists()), key=len)
        page: list[Run] = []
        if shown is None and filters.number <= 1:
            coming: Iterator[Run] = map(self.by_key.__getitem__, keys.after(skip) if skip else keys.behind(after))
            skip = 0
        else:
            coming = self._matching(keys, after, filters, shown)
        for run in coming:
            if skip:
                skip -= 1
                continue
            if len(page) == limit:
                return page, True
            page.append(run)
        return page, False

    def census(self) -> Mapping[str, int]:
        """How many runs are in each status."""
        return {value: len(keys) for (kind, value), keys in sorted(self._lists.items()) if kind == "status"}

    def _matching(self, keys: Keys, after: int | None, filters: Filters, shown: Shown | None) -> Iterator[Run]:
        for key in keys.behind(after):
            run = self.by_key[key]
            if filters.match(run, run.status) and (shown is None or shown(run)):
                yield run

    def _put(self, name: tuple[str, str], run: Run) -> None:
        keys = self._lists.get(name)
        if keys is None:
            keys = self._lists[name] = Keys()
        keys.add(run.key)

    def _take(self, name: tuple[str, str], run: Run) -> None:
        keys = self._lists[name]
        keys.remove(run.key)
        if not keys:
            del self._lists[name]


def _standing_lists(run: Run) -> Iterable[tuple[str, str]]:
    yield "all", ""
    for kind, value in (("group", run.spec.run_group_id), ("batch", run.spec.batch_id), ("name", run.spec.name)):
        if value is not None:
            yield kind, value
