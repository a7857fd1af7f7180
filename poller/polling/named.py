"""The runs that are followed because somebody named them: a configuration, a caller of the library, or a command.

A command writes what it names into the record, as a watch; that is read again and again.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from poller.core.runs import KnownRun, Question
from poller.foundation import Foundation
from poller.polling.candidates import Candidates
from poller.polling.rounds import Rounds
from poller.polling.waiters import Waiters


class Named:
    """The named runs of one scope; what was named outlives a crash of the loop.

    `by_callers` are those that callers of the library have named in this process.
    """

    def __init__(self, foundation: Foundation, scope: str, waiters: Waiters) -> None:
        self.store = foundation.store
        self.gate = foundation.gate
        self.clock = foundation.clock
        self.scope = scope
        self.waiters = waiters
        self.by_callers: set[str] = set()
        self._by_commands = frozenset[str]()
        self._scopes = frozenset({scope})
        self._since = self.clock.now()

    async def take_up(self, rounds: Rounds, *, scopes: Iterable[str], since: datetime) -> None:
        """Put on the agenda what the record was following and what is named.

        Args: `scopes` are the names under which commands name the runs of this scope; one that a command names after
        `since` is asked about even if its end is on record.
        """
        self._scopes, self._since = frozenset(scopes), since
        knowledge, rules = rounds.knowledge, rounds.knowledge.discovery.rules
        knowledge.overdues.take_up(await self.gate.insist(lambda: self.store.stays(self.scope)))
        live = await self.gate.insist(lambda: self.store.live_runs(self.scope))
        await self.read_watches(rounds)
        named = rules.run_ids | self.by_callers
        wanted = named | self._by_commands
        keep = [
            known
            for known in live
            if known.run_id not in knowledge.discovery.muted
            and (rules.reads_lists if known.by_rule else known.run_id in wanted)
        ]
        await knowledge.take_up(keep)
        remembered = await self.gate.insist(lambda: self.store.batches(self.scope))
        knowledge.batches.take_up(rules.batches, remembered)
        await self.gate.insist(lambda: knowledge.partings.take_up(self.store, self.scope, self.clock.now()))
        await self.follow(named, rounds)
        await self.follow_awaited(rounds)
        rounds.listings.start_discovery()

    async def follow(self, run_ids: Iterable[str], rounds: Rounds, *, afresh: bool = False) -> None:
        """Follow runs from now on, if nobody does. `afresh` asks the service even if their end is on record."""
        strangers = [run_id for run_id in run_ids if run_id not in rounds.runs]
        if not strangers:
            return
        remembered = await self.gate.insist(lambda: self.store.known_runs(self.scope, strangers))
        candidates = rounds.knowledge.candidates
        news = [_named(run_id, remembered.get(run_id), candidates, afresh=afresh) for run_id in strangers]
        await rounds.follow([known for known in news if known is not None])

    async def follow_awaited(self, rounds: Rounds) -> None:
        """Follow those that somebody waits for: the answer that ended one may have been under way before he did."""
        await self.follow(self.waiters.run_ids, rounds, afresh=True)

    async def read_watches(self, rounds: Rounds) -> bool:
        """Follow what commands have added to the record, let go what they have removed or muted; True if any is new."""
        rows = [row for row in await self.gate.insist(self.store.watches) if row.scope in self._scopes]
        modes = {row.run_id: row.mode for row in rows}  # of one run under two names the newest counts: they come last
        followed = frozenset(run_id for run_id, mode in modes.items() if mode == "follow")
        muted = frozenset(modes.keys() - followed)
        discovery = rounds.knowledge.discovery
        discovery.muted = muted
        removed = self._by_commands - followed - discovery.rules.run_ids - self.by_callers
        for run_id in removed | (muted & rounds.runs.keys()):
            known = rounds.runs.get(run_id)
            if known is not None and (run_id in muted or not known.by_rule):
                await rounds.let_go(run_id)
        new = followed - self._by_commands
        asked_now = {row.run_id for row in rows if row.added_at >= self._since}
        self._by_commands = followed
        await self.follow(new - asked_now, rounds)
        await self.follow(new & asked_now, rounds, afresh=True)
        return bool(new)


def _named(run_id: str, remembered: KnownRun | None, candidates: Candidates, *, afresh: bool) -> KnownRun | None:
    """How a run that somebody named is followed: None if its story is on record and nobody asks `afresh`."""
    if remembered is None:
        return replace(candidates.take(run_id) or KnownRun(run_id), by_rule=False, emit_first="always")
    if remembered.live:
        return replace(remembered, by_rule=False)
    return replace(remembered, question=Question.IDENTITY, by_rule=False) if afresh else None
