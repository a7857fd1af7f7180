"""Whether a scope can be asked, and answers for the right account: blindness, denial, the pinned account."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from poller.core.cadence import Pace
from poller.core.drafts import Draft, Place, poller_event
from poller.core.errors import BadRequest, Blind, Denied, ServiceError, Throttled
from poller.core.event_data import PollerData
from poller.core.runs import RUN_ARN, Snapshot
from poller.core.sight import Cause, Sight, blinded, fails, sees, turns_blind
from poller.ports.clock import Clock

log = structlog.get_logger("poller.polling")

_OWNED: Final = re.compile(r"arn:(?P<partition>aws[a-z-]*):omics:[a-z0-9-]+:(?P<account>\d{12}):run(Batch)?/")
"""The ARN of a run or a batch, as far as it tells whose it is."""


class Access:
    """What one scope can see. Args: `chance` gives numbers in [0, 1); `instance` names the daemon in its events."""

    def __init__(self, place: Place, pace: Pace, clock: Clock, chance: Callable[[], float], instance: str) -> None:
        self.place = place
        self.pace = pace
        self.clock = clock
        self.chance = chance
        self.instance = instance
        self.sight = Sight()
        self.shown_account: str | None = None
        """The account that the last ARN told, if it is the one that counts."""
        self._told_blind: datetime | None = None
        self._denied: dict[str, float] = {}
        self._run_answered = float("-inf")

    def go_on_from(self, before: "Access") -> None:
        """Begin as well or as badly as it was seen before: what was told to be blind is told to have recovered."""
        self.sight, self._told_blind = before.sight, before._told_blind

    def run_answered(self, run_id: str) -> None:
        """A GetRun succeeded."""
        self._denied.pop(run_id, None)
        self._run_answered = self.clock.monotonic()
        self._sees()

    def answered(self) -> None:
        """The service answered something else; while GetRun is denied for every run, that does not count as seeing."""
        if self.sight.cause is not Cause.DENIED:
            self._sees()

    def relieved(self) -> None:
        """Whatever could not be seen, somebody else sees it from now on."""
        self._sees()

    def refuses(self, run_id: str, error: BadRequest | Denied, followed: Iterable[str]) -> bool:
        """A GetRun was refused: True if that is about this run alone, since the service answers about others.

        Else it may be about all of them: it counts as a look that failed, and as blindness once no run is left.
        """
        now = self.clock.monotonic()
        if isinstance(error, BadRequest) or self._run_answered > self._denied.get(run_id, now):
            self._sees()
            return True
        self._denied.setdefault(run_id, now)
        everything = all(other in self._denied for other in followed)
        self._fails(Cause.DENIED if everything else Cause.NO_ANSWER, str(error), at_once=everything)
        return False

    def is_denied(self, run_id: str) -> bool:
        """Whether the last GetRun about this run was denied."""
        return run_id in self._denied

    def failed(self, error: ServiceError, at: datetime) -> None:
        """A look brought no answer."""
        if isinstance(error, Throttled):
            # the service answers, only not us: the budget is cut, and it is blindness only if it lasts
            since = self.sight.failing_since or at
            self.sight = replace(self.sight, failing_since=since, cause=Cause.NO_ANSWER, detail=str(error))
        elif isinstance(error, Blind):
            self._fails(Cause.CREDENTIALS, str(error), at_once=True)
        elif not isinstance(error, Denied):
            self._fails(Cause.NO_ANSWER, str(error))

    def lost(self, cause: Cause, detail: str) -> None:
        """There is no access: asking stops until the next probe."""
        self._fails(cause, detail, at_once=True)

    def pin(self, account_id: str, partition: str = "aws") -> None:
        """From now on this account's answers are the only ones that count."""
        self.place = replace(self.place, account_id=account_id, partition=partition)
        log.info("account.pinned", account=account_id)

    def is_ours(self, arn: object) -> bool:
        """Whether an answer with this ARN is of the pinned account; the first one pins it where nothing else could."""
        found = _OWNED.match(str(arn))
        if found is None:
            return True
        if self.place.account_id is None:
            self.pin(found["account"], found["partition"])
        if found["account"] == self.place.account_id:
            self.shown_account = found["account"]
            return True
        self.lost(Cause.WRONG_ACCOUNT, self.wrong_account(found["account"]))
        return False

    def is_foreign(self, manifest: Snapshot) -> str | None:
        """Why a manifest says nothing of our runs, None if it may: its ARN is of another account or region."""
        found = RUN_ARN.fullmatch(str(manifest.fields.get("arn", "")))
        if found is None:
            return None
        if found["region"] != self.place.region:
            return f"it is of region {found['region']}, and this scope of {self.place.region}"
        if self.place.account_id is not None and found["account"] != self.place.account_id:
            return self.wrong_account(found["account"])
        return None

    def wrong_account(self, account_id: str) -> str:
        """The sentence that says whose answers these are, and whose are expected."""
        return f"the answers are of account {account_id}; this record follows account {self.place.account_id}"

    def forget(self, run_id: str) -> None:
        """The run is followed no more."""
        self._denied.pop(run_id, None)

    def blind_at(self) -> datetime | None:
        """When the scope counts as blind if no look succeeds before; None if nothing fails, or it is blind already."""
        if self.sight.blind or self.sight.failing_since is None:
            return None
        return self.sight.failing_since + self.pace.blind_after

    def news(self) -> Draft | None:
        """What is to be told now: that the scope turned blind, or sees again; None if neither."""
        now = self.clock.now()
        if self._told_blind is not None and not self.sight.blind:
            since, self._told_blind = self._told_blind, None
            log.info("scope.recovered", scope=self.place.scope, seconds=round((now - since).total_seconds(), 1))
            return poller_event("recovered", self._data(since, now, lasted=(now - since).total_seconds()))
        if turns_blind(self.sight, now, self.pace.blind_after):
            self.sight = blinded(self.sight, now)
            since = self._told_blind = self.sight.blind_since or now
            log.error("scope.blind", scope=self.place.scope, cause=self.sight.cause, detail=self.sight.detail)
            return poller_event("blind", self._data(since, now))
        return None

    def _sees(self) -> None:
        self.sight = sees(self.clock.now())

    def _fails(self, cause: Cause, detail: str, *, at_once: bool = False) -> None:
        self.sight = fails(
            self.sight,
            cause,
            detail,
            now=self.clock.now(),
            monotonic=self.clock.monotonic(),
            jitter=self.chance(),
            slowest=self.pace.max_interval,
            at_once=at_once,
        )

    def _data(self, since: datetime, now: datetime, lasted: float | None = None) -> PollerData:
        return PollerData(
            instance=self.instance,
            subject=self.place.scope,
            cause=self.sight.cause,
            detail=self.sight.detail,
            since=since,
            observed_at=now,
            last_success_at=self.sight.last_success_at,
            duration_seconds=lasted,
        )
