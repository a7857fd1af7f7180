"""A batch as it was asked for: the settings of its runs, how fast it goes, and what of it fails. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict, overload

from poller.emulator.lives import Life

# Of the tags, the place in the batch and the batch's own chance to the life of a run. Raises: Refused.
LifeOf = Callable[[Mapping[str, str], int, random.Random], Life]

LARGEST: Final = 100_000


def any_life(_tags: Mapping[str, str], _place: int, rng: random.Random) -> Life:
    """A life for those to whom it does not matter, drawn by the batch's own chance."""
    return Life.random(rng)


class Numbered(Sequence[Mapping[str, Any]]):
    """Settings of so many runs named `prefix-1`, `prefix-2`, ..., made when they are asked for."""

    def __init__(self, prefix: str, number: int) -> None:
        self._prefix, self._number = prefix, number

    def __len__(self) -> int:
        return self._number

    @overload
    def __getitem__(self, place: int) -> Mapping[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Mapping[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(self._number))]
        name = f"{self._prefix}-{place + 1}"
        return {"runSettingId": name, "name": name}


class Pace(TypedDict, total=False):
    """How fast a batch goes, where it says so; the meaning of each is told at `BatchSpec`."""

    creating: float
    pending: float
    runs_per_second: float


class BatchOptions(Pace, total=False):
    """What `start_batch` takes beside the runs and their life; the meaning of each is told at `BatchSpec`."""

    name: str | None
    batch_id: str | None
    tags: Mapping[str, str]
    failed_submissions: int
    submission_failure: str
    failure_reason: str | None
    starts_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpec:
    """A batch as it was asked for.

    `settings`: of its runs, as inlineSettings on the wire. `default`: the defaultRunSetting. `life_of`: what becomes of
    each run; None: as of one that StartRun starts. `failed_submissions`: so many of its submissions fail with
    `submission_failure`, evenly spread. `failure_reason`: the batch itself fails when it leaves PENDING. `starts_in`:
    seconds until it is created; negative: it is already that old. `creating`, `pending`: seconds in these statuses.
    `runs_per_second`: how fast its runs are submitted, cancelled and deleted; `inf`: at once. All seconds are before
    speed.
    """

    settings: Sequence[Mapping[str, Any]]
    default: Mapping[str, Any]
    life_of: LifeOf | None = None
    name: str | None = None
    batch_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    failed_submissions: int = 0
    submission_failure: str = "ValidationException"
    failure_reason: str | None = None
    starts_in: float = 0.0
    creating: float = 1.0
    pending: float = 2.0
    runs_per_second: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.settings) <= LARGEST:
            raise ValueError(f"a batch has 1 to {LARGEST} runs, not {len(self.settings)}")
        if not 0 <= self.failed_submissions <= len(self.settings):
            raise ValueError(f"of {len(self.settings)} submissions, {self.failed_submissions} cannot fail")
        if not self.runs_per_second > 0:
            raise ValueError(f"runs_per_second is above 0, not {self.runs_per_second}")
        if self.creating < 0 or self.pending < 0:
            raise ValueError("a batch cannot be CREATING or PENDING for less than 0 seconds")

    def fails(self, place: int) -> bool:
        number, total = self.failed_submissions, len(self.settings)
        return (place + 1) * number // total > place * number // total
