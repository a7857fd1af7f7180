"""The runs of one scope that stay where they are for too long: when an answer about one is wanted, and what it means.

The rule is in `core/overdue.py`. Here it meets the round: each answer that was applied is held against it, and what is
overdue becomes one more transition of that answer. A run in PENDING waits for what GetRunGroup says of its group
first (`polling/groups.py`).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from poller.core.overdue import Agenda, Terms, is_overdue, tell_overdue
from poller.core.runs import KnownRun, Snapshot
from poller.core.stays import StayKey, Stays, stays_in
from poller.core.transitions import Observed, Transition
from poller.foundation import Foundation
from poller.polling.followed import Work
from poller.polling.groups import Groups

MOST_AT_ONCE: Final = 500
"""Runs that are made due between two looks: a queue of a hundred thousand may turn overdue in one moment."""


class Overdues:
    """What is overdue in one scope. Args: `runs` are those followed, as they were committed last."""

    def __init__(self, foundation: Foundation, terms: Terms, runs: Mapping[str, KnownRun]) -> None:
        self.clock = foundation.clock
        self.runs = runs
        self.agenda = Agenda(terms)
        self.groups = Groups(foundation, runs)

    def take_up(self, stays: Iterable[Stays]) -> None:
        """Go on with what the record knows of how long runs stay."""
        for one in stays:
            self.agenda.learn(one)

    def plan(self, known: KnownRun) -> None:
        """Wait for the moment of a run as it is known now; who waits for its group has had it."""
        if known.run_id in self.groups:
            self.agenda.drop(known.run_id)
        else:
            self.agenda.plan(known)

    def drop(self, run_id: str) -> None:
        """The run is followed no more."""
        self.agenda.drop(run_id)
        self.groups.forget(run_id)

    def turned(self) -> list[str]:
        """The runs whose moment has come since the last time: an answer about each is wanted now."""
        found = self.agenda.turned(self.clock.now(), most=MOST_AT_ONCE)
        for run_id in found:
            known = self.runs.get(run_id)
            if known is not None and known.status == "PENDING" and known.run_group_id is not None:
                self.groups.want(known.run_group_id)
        return found

    def judge(self, observed: Observed, seen: Snapshot) -> Observed:
        """Hold an answer that was applied against the rule: what it means, and that the run is overdue if it is."""
        known, limit = observed.known, self.agenda.limit(observed.known)
        if known.status != "PENDING":
            self.groups.forget(known.run_id)
        if limit is None or not is_overdue(known, limit, seen):
            return observed
        group = None
        if known.status == "PENDING" and known.run_group_id is not None:
            group = self.groups.facts(known.run_group_id)
            if group is None:
                self.groups.hold(known.run_id, known.run_group_id, seen)
                return observed
        told = tell_overdue(known, limit, seen, factor=self.agenda.terms.factor, group=group)
        return observed._replace(known=told.known, transitions=(*observed.transitions, *told.transitions))

    def judge_held(self, group_id: str, work: Work) -> list[Observed]:
        """What is told of those who waited for this group and are where they were."""
        told = []
        for run_id, seen in self.groups.release(group_id).items():
            known = work.runs.get(run_id) or self.runs.get(run_id)
            limit = None if known is None else self.agenda.limit(known)
            if known is None or limit is None or not is_overdue(known, limit, seen):
                continue  # it moved on, or a later answer waits for the next one
            facts = self.groups.facts(group_id)
            told.append(tell_overdue(known, limit, seen, factor=self.agenda.terms.factor, group=facts))
        return told

    def learn(self, work: Work) -> None:
        """Take into a round how long its runs were in the statuses that they left."""
        of_run: dict[str, list[Transition]] = {}
        for one in work.transitions:
            of_run.setdefault(one.run_id, []).append(one)
        for run_id, transitions in of_run.items():
            if run_id not in work.runs:
                continue
            for key, seconds in stays_in(self.runs.get(run_id), transitions, work.runs[run_id]):
                work.stays[key] = (work.stays.get(key) or self.agenda.stays(key)).with_one_more(seconds)

    def learned(self, stays: Mapping[StayKey, Stays]) -> None:
        """A round is committed: what it has learned counts."""
        for one in stays.values():
            self.agenda.learn(one)
