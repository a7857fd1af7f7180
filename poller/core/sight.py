"""Whether a scope can be seen at all: from failed looks to blindness, and back.

Blind: looks were due and none succeeded for `blind_after`, whatever the cause; or at once where there are no valid
credentials, GetRun is denied for every run, or the credentials belong to another account. Before that, a row of
failures already suspends asking, so that a service that is down is probed and not stormed.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

SUSPENDS_AFTER: Final = 5
"""Failed looks in a row, of whatever runs, after which one look at a time probes the service."""
FIRST_PROBE: Final = timedelta(seconds=0.5)


class Cause(StrEnum):
    """Why nothing can be seen."""

    NO_ANSWER = "no_answer"
    CREDENTIALS = "credentials"
    DENIED = "denied"
    WRONG_ACCOUNT = "wrong_account"


@dataclass(frozen=True, slots=True)
class Sight:
    """How well a scope is seen. `failing_since` is the first failure after `last_success_at`; `probe_at` monotonic."""

    last_success_at: datetime | None = None
    failing_since: datetime | None = None
    failures: int = 0
    cause: Cause | None = None
    detail: str | None = None
    blind_since: datetime | None = None
    probe_at: float | None = None

    @property
    def blind(self) -> bool:
        return self.blind_since is not None

    @property
    def suspended(self) -> bool:
        """Whether only one look at a time may be made, and only at `probe_at`."""
        return self.probe_at is not None


def sees(now: datetime) -> Sight:
    """A look succeeded."""
    return Sight(last_success_at=now)


def fails(
    sight: Sight,
    cause: Cause,
    detail: str,
    *,
    now: datetime,
    monotonic: float,
    jitter: float,
    slowest: timedelta,
    at_once: bool = False,
) -> Sight:
    """A look failed. `at_once` suspends all others until the next probe; `slowest` is the longest wait before one.

    What fails before the next probe was under way when asking was suspended: it says nothing new, and a burst of such
    failures must not put the probe off.
    """
    if sight.probe_at is not None and monotonic < sight.probe_at:
        return replace(sight, cause=cause, detail=detail) if at_once else sight
    failures = sight.failures + 1
    probe_at = None
    if at_once or failures >= SUSPENDS_AFTER or sight.blind:
        doublings: int = 2 ** min(max(failures - SUSPENDS_AFTER, 0), 40)
        wait = min(FIRST_PROBE * doublings, slowest) * (0.5 + jitter / 2)
        probe_at = monotonic + wait.total_seconds()
    return replace(
        sight,
        failing_since=sight.failing_since or now,
        failures=failures,
        cause=cause,
        detail=detail,
        probe_at=probe_at,
    )


def turns_blind(sight: Sight, now: datetime, blind_after: timedelta) -> bool:
    """Whether this is the moment at which the scope counts as blind."""
    if sight.blind or sight.failing_since is None:
        return False
    if sight.cause in (Cause.CREDENTIALS, Cause.WRONG_ACCOUNT, Cause.DENIED):
        return True
    return now - sight.failing_since >= blind_after


def blinded(sight: Sight, now: datetime) -> Sight:
    """The scope as it is once its blindness was told; the episode began with the first failure."""
    return replace(sight, blind_since=sight.failing_since or now)
