"""What truly happened, held against what was told: pure, and knowing nothing of how the poller works."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from poller.app.cli.following import is_step
from poller.app.demo.inbox import Received
from poller.core.statuses import ENDS, RANK
from poller.emulator import GONE, Transition

MUST_BE_TOLD: Final = timedelta(seconds=2)
"""A status that lasted so long could be seen within the demo's budget; a shorter one may be told as skipped."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. `delays` are from a true transition to its acknowledgement; `complaints` say what is wrong."""

    incarnations: int
    transitions: int
    told: int
    skipped: int
    delays: tuple[timedelta, ...]
    complaints: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """Whether nothing is missing."""
        return not self.complaints


def judge(history: Iterable[Transition], received: Sequence[Received]) -> Report:
    """Hold the emulator's history against the events received, incarnation by incarnation."""
    truth: defaultdict[str, list[Transition]] = defaultdict(list)
    for transition in history:
        truth[transition.uuid].append(transition)
    told: defaultdict[str, list[Received]] = defaultdict(list)
    for one in received:
        if one.event.run_id is not None:
            told[str(one.event.data["run_uuid"])].append(one)
    complaints: list[str] = [f"an event of run {uuid}, which does not exist" for uuid in told.keys() - truth.keys()]
    delays: list[timedelta] = []
    number = skipped = steps = 0
    for uuid, true_steps in truth.items():
        name = f"{true_steps[0].name} ({true_steps[0].run_id})"
        events = told[uuid]
        complaints += (f"{name}: {text}" for text in _disorder(events))
        acknowledged = {one.event.status: one.at for one in events if is_step(one.event)}
        unseen = {status for one in events for status in one.event.data["skipped_statuses"]}
        due = _due(true_steps)
        steps += len(due)
        for status, at, lasted in due:
            if status in acknowledged:
                number += 1
                delays.append(acknowledged[status] - at)
            elif status in unseen and lasted < MUST_BE_TOLD:
                skipped += 1
            else:
                complaints.append(f"{name}: {status} was not told")
        if _is_lost(true_steps) and not any(one.event.kind == "vanished" for one in events):
            complaints.append(f"{name}: that it vanished was not told")
        if "FAILED" in acknowledged and not any(one.event.kind == "diagnosed" for one in events):
            complaints.append(f"{name}: why it failed was not told")
    return Report(len(truth), steps, number, skipped, tuple(delays), tuple(complaints))


def _due(steps: Sequence[Transition]) -> list[tuple[str, datetime, timedelta]]:
    """The statuses of a life that are to be told, when each began, and how long it lasted: up to its end."""
    found = []
    after = [step.at for step in steps[1:]]
    for place, step in enumerate(steps):
        if step.status == GONE:
            break
        lasted = after[place] - step.at if place < len(after) else timedelta.max
        found.append((step.status, step.at, lasted))
        if step.status in ENDS:
            break
    return found


def _is_lost(steps: Sequence[Transition]) -> bool:
    """Whether the API stopped knowing it before it had ended."""
    words = [step.status for step in steps]
    return GONE in words and not ENDS & set(words)


def _disorder(events: Sequence[Received]) -> list[str]:
    """What is wrong with the order in which events of one incarnation came."""
    wrong = []
    numbers = [one.event.sequence for one in events]
    if numbers != list(range(1, len(numbers) + 1)):
        wrong.append(f"its events came as {numbers}")
    steps = [one.event.status or "" for one in events if is_step(one.event)]
    if any(RANK[later] <= RANK[earlier] for earlier, later in pairwise(steps)):
        wrong.append(f"its statuses came as {steps}")
    if sum(status in ENDS for status in steps) > 1:
        wrong.append("its end came more than once")
    return wrong
