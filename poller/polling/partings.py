"""Runs of which nothing is left to ask but their manifest: those told as vanished, and those whose id another run has.

A late manifest is waited for after `vanished`, in memory: what was waited for when the process ended is found again by
the recorded events. An old incarnation is asked about once, while the answer that shows the new one waits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from poller.core.events import RUN_PREFIX
from poller.core.planner import Planner
from poller.core.runs import KnownRun, Snapshot, Verdict
from poller.core.vanishing import LATE_FOR
from poller.polling.manifests import Manifests
from poller.ports.store import Store

NEVER: Final = float("inf")
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class _Late:
    until: datetime
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """An old incarnation, the last answer about the new one, and when the manifest is waited for no longer."""

    known: KnownRun
    look: Snapshot
    until: datetime


class Partings:
    """The runs of one scope that wait for their manifest only."""

    def __init__(self, manifests: Manifests) -> None:
        self.manifests = manifests
        self._late: dict[str, _Late] = {}
        self._held: dict[str, Held] = {}

    def __contains__(self, run_id: str) -> bool:
        """Whether an answer about this run waits for a manifest, so that GetRun is not asked meanwhile."""
        return run_id in self._held

    # --- whose id another run has ----------------------------------------------------------------------------------

    def hold(self, known: KnownRun, look: Snapshot, until: datetime) -> None:
        """Let an answer that shows a newer incarnation wait for the manifest of the old one."""
        self.drop(known.run_id)
        self._held[known.run_id] = Held(known, look, until)
        self.manifests.want(known)

    def plan(self, planner: Planner) -> None:
        """Ask no GetRun about who waits for a manifest."""
        for held in self._held.values():
            planner.follow(held.known, NEVER)

    def next_until(self) -> datetime | None:
        """When the next manifest is waited for no longer."""
        held = [one.until for one in self._held.values()]
        return min([*held, *(one.until for one in self._late.values())], default=None)

    def resolved(self, now: datetime) -> Iterator[tuple[Held, Snapshot | None, str]]:
        """The answers that wait no longer, with the manifest or None, and what came of asking.

        One that is not there is not waited for: an id is used again only after its run was deleted, long after its end.
        """
        for run_id, held in list(self._held.items()):
            reading = self.manifests.reading(run_id)
            if reading.end is not None or reading.absent or reading.left_out or now >= held.until:
                yield held, reading.end, reading.said

    # --- who was told as vanished ----------------------------------------------------------------------------------

    def await_late(self, known: KnownRun, vanished_at: datetime, evidence: tuple[str, ...]) -> None:
        """Ask on for the manifest of a run that was told as vanished."""
        self._late[known.run_id] = _Late(vanished_at + LATE_FOR, evidence)
        self.manifests.want(known)

    async def take_up(self, store: Store, scope: str, now: datetime) -> None:
        """Ask on for the manifests that were waited for when the process ended."""
        vanished: dict[str, tuple[datetime, tuple[str, ...]]] = {}
        after = 0
        while True:
            events = await store.events(
                after=after, limit=_PAGE, scope=scope, types=[f"{RUN_PREFIX}vanished"], since=now - LATE_FOR
            )
            for event in events:
                vanished[event.subject] = (event.time, tuple(event.data.get("evidence") or ()))
                after = event.position
            if len(events) < _PAGE:
                break
        if not vanished:
            return
        for run_id, known in (await store.known_runs(scope, vanished)).items():
            if known.verdict is Verdict.VANISHED:
                self.await_late(known, *vanished[run_id])

    def came_late(self, now: datetime) -> dict[str, tuple[Snapshot, tuple[str, ...]]]:
        """The manifests that came after `vanished`, by run id, with what had been tried; who waited too long goes."""
        found = {}
        for run_id, late in list(self._late.items()):
            reading = self.manifests.reading(run_id)
            if reading.end is not None:
                tried = tuple(one for one in late.evidence if not one.startswith("manifest: "))
                found[run_id] = (reading.end, (*tried, reading.said))
            elif reading.left_out or now >= late.until:
                self.drop(run_id)
        return found

    def drop(self, run_id: str) -> None:
        """The run shows itself again, or its end is told: nothing more is waited for."""
        late, held = self._late.pop(run_id, None), self._held.pop(run_id, None)
        if late is not None or held is not None:
            self.manifests.forget(run_id)
