"""The independent reader: what truly happened and what the API showed, held against all that the receiver was sent.

It knows the contract of an event (README), and nothing of how the poller works: of its code it imports nothing.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

PATH: Final = ("PENDING", "STARTING", "RUNNING", "STOPPING")
ENDS: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
GONE: Final = "GONE"
"""No status: from then on the API does not know the run."""
DIAGNOSED: Final = "healthomics.run.diagnosed"
"""Why a run failed: told once after its end, and no step of its life."""
STAMPED: Final = {"PENDING": "creationTime", "RUNNING": "startTime", **dict.fromkeys(ENDS, "stopTime")}
"""The statuses of which the service itself says when they began, and where."""
CUT: Final = timedelta(milliseconds=2)
"""Times are cut to milliseconds, each on its own."""
READ_WITHIN: Final = timedelta(seconds=0.25)
"""An answer that came so shortly before the run moved on may be overtaken by the next one on its way in."""
COMMITTED_WITHIN: Final = timedelta(seconds=1)
"""An answer that came so shortly before a kill may never have been committed (the promise is 200 ms)."""


@dataclass(frozen=True, slots=True)
class Step:
    """A status that an incarnation truly entered, and when it entered the next one."""

    uuid: str
    run_id: str
    status: str
    at: datetime
    until: datetime


@dataclass(frozen=True)
class Arrival:
    """One request that reached the receiver, whatever it answered. `answered` is None where it gave no answer."""

    identity: str
    body: bytes
    at: datetime
    signed: bool
    answered: int | None

    @cached_property
    def event(self) -> Mapping[str, Any]:
        event: Mapping[str, Any] = json.loads(self.body)
        return event

    @property
    def acknowledged(self) -> bool:
        return self.answered is not None and 200 <= self.answered < 300


def steps_of(history: Iterable[Mapping[str, Any]]) -> dict[str, list[Step]]:
    """The lives in `GET /_emulator/history`, by uuid."""
    lives: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in history:
        lives[one["uuid"]].append(one)
    steps = {}
    for uuid, life in lives.items():
        begins = [datetime.fromisoformat(one["at"]) for one in life]
        ends = [*begins[1:], datetime.max.replace(tzinfo=begins[0].tzinfo)]
        steps[uuid] = [
            Step(uuid, one["run_id"], one["status"], begin, end)
            for one, begin, end in zip(life, begins, ends, strict=True)
        ]
    return steps


def shown(
    lives: Mapping[str, Sequence[Step]], calls: Iterable[Mapping[str, Any]], lost: Collection[datetime] = ()
) -> set[tuple[str, str]]:
    """What the API surely let the daemon see: (uuid, status) of which a whole answer came while it was true.

    Args: `calls` as in `GET /_emulator/calls`; of what was answered shortly before a moment in `lost` (a kill, a
    connection cut from outside) nobody knows whether it was read.
    """
    seen = set()
    answers = []
    for call in calls:
        if call["outcome"] == "200" and call["operation"] in ("GetRun", "ListRuns"):
            asked, answered = datetime.fromisoformat(call["at"]), datetime.fromisoformat(call["answered_at"])
            if not any(answered <= moment <= answered + COMMITTED_WITHIN for moment in lost):
                answers.append((call["run_id"], call["status"], asked, answered))
    for life in lives.values():
        for step in (one for one in life if one.status != GONE):
            for run_id, status, asked, answered in answers:
                fits = run_id == step.run_id or (run_id is None and status == step.status)
                if fits and step.at <= asked and answered + READ_WITHIN < step.until:
                    seen.add((step.uuid, step.status))
                    break
    return seen


def violations(
    lives: Mapping[str, Sequence[Step]], arrivals: Sequence[Arrival], seen: Collection[tuple[str, str]] = ()
) -> list[str]:
    """Everything that breaks a promise, in words; empty if all is well and each life was told to its end."""
    wrong = _of_each(arrivals)
    events: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for arrival in arrivals:
        events[arrival.event["data"].get("run_uuid")].append(arrival.event)
    wrong += [f"{events[uuid][0]['type']} of {uuid}, which never lived" for uuid in events.keys() - lives.keys()]
    for uuid, life in lives.items():
        due = {status for one, status in seen if one == uuid}
        wrong += [f"run {life[0].run_id} {uuid[:8]}: {what}" for what in _of_a_life(life, events[uuid], due)]
    return wrong + _of_lanes(arrivals, lives)


def missing(lives: Mapping[str, Sequence[Step]], arrivals: Iterable[Arrival]) -> set[str]:
    """The incarnations that have truly ended, and whose end nobody acknowledged yet."""
    told = {
        arrival.event["data"]["run_uuid"]
        for arrival in arrivals
        if arrival.acknowledged and arrival.event["type"] != DIAGNOSED and arrival.event["data"].get("status") in ENDS
    }
    return {uuid for uuid, life in lives.items() if any(step.status in ENDS for step in life)} - told


def undiagnosed(lives: Mapping[str, Sequence[Step]], arrivals: Iterable[Arrival]) -> set[str]:
    """The incarnations that have truly failed, and of which nobody acknowledged why yet."""
    told = {one.event["data"]["run_uuid"] for one in arrivals if one.acknowledged and one.event["type"] == DIAGNOSED}
    return {uuid for uuid, life in lives.items() if _end_of(life) == "FAILED"} - told


def lags(lives: Mapping[str, Sequence[Step]], arrivals: Sequence[Arrival], since: datetime) -> list[float]:
    """Seconds from each true transition after `since` that was told to its first arrival."""
    first: dict[tuple[str, str], datetime] = {}
    for arrival in arrivals:
        data = arrival.event["data"]
        first.setdefault((data.get("run_uuid"), data.get("status")), arrival.at)
    return sorted(
        (first[uuid, step.status] - step.at).total_seconds()
        for uuid, life in lives.items()
        for step in life
        if step.at >= since and (uuid, step.status) in first
    )


def _of_each(arrivals: Sequence[Arrival]) -> list[str]:
    """One identity per event: signed, and the same bytes whenever it is sent."""
    wrong = []
    bodies: dict[str, bytes] = {}
    for arrival in arrivals:
        what = f"{arrival.event['type']} {arrival.identity}"
        if not arrival.signed:
            wrong.append(f"{what}: its signature is wrong")
        if arrival.event["id"] != arrival.identity:
            wrong.append(f"{what}: webhook-id is not its id {arrival.event['id']}")
        if bodies.setdefault(arrival.identity, arrival.body) != arrival.body:
            wrong.append(f"{what}: sent again with other bytes")
    return wrong


def _of_a_life(life: Sequence[Step], events: Sequence[Mapping[str, Any]], due: Collection[str]) -> list[str]:
    wrong = []
    told: dict[str, Mapping[str, Any]] = {}
    for event in events:
        told.setdefault(event["id"], event)
    numbers = [event["sequence"] for event in told.values()]
    if numbers != [f"{number:010}" for number in range(1, len(told) + 1)]:
        wrong.append(f"its events were first sent as {numbers}")
    reasons = [event for event in told.values() if event["type"] == DIAGNOSED]
    for event in reasons:
        told.pop(event["id"])
    wrong += _of_a_diagnosis(life, reasons)
    statuses = [event["data"]["status"] for event in told.values()]
    true = [step.status for step in life]
    if [status for status in true if status in statuses] != statuses:
        wrong.append(f"told {statuses}, lived {true}")
    ends = [status for status in true if status in ENDS][:1]
    if [status for status in statuses if status in ENDS] != ends:
        wrong.append(f"ended {ends}, told {statuses}")
    wrong += [f"{status} was shown by the API and not told" for status in due if status not in statuses]
    known = {step.status: step for step in life}
    for before, event in zip([None, *told.values()], told.values(), strict=False):
        if (step := known.get(event["data"]["status"])) is not None:
            wrong += _of_an_event(step, event, before)
    return wrong


def _end_of(life: Sequence[Step]) -> str | None:
    return next((step.status for step in life if step.status in ENDS), None)


def _of_a_diagnosis(life: Sequence[Step], reasons: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each run that failed one event says why, after its end; of no other."""
    if len(reasons) != (1 if _end_of(life) == "FAILED" else 0):
        return [f"ended {_end_of(life)}, and why was told {len(reasons)} times"]
    return [
        "why it failed is told as an end or a step"
        for event in reasons
        if event["data"]["terminal"] or event["data"]["previous_status"] != "FAILED" or not event["data"]["diagnosis"]
    ]


def _of_an_event(step: Step, event: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[str]:
    """What one event says of its transition, against the true one."""
    wrong, data, status = [], event["data"], step.status
    if event["type"] != f"healthomics.run.{status.lower()}":
        wrong.append(f"{status} is told as {event['type']}")
    if data["terminal"] != (status in ENDS) or data["run_id"] != step.run_id:
        wrong.append(f"{status} says terminal {data['terminal']} of run {data['run_id']}")
    last = before["data"]["status"] if before is not None else None
    if data["previous_status"] != last or data["first_observation"] != (last is None):
        wrong.append(f"{status} follows {last}, and says {data['previous_status']}")
    between = PATH[PATH.index(last) + 1 : PATH.index(status) if status in PATH else None] if last in PATH else ()
    if data["skipped_statuses"] != list(between):
        wrong.append(f"{last} -> {status} says that {data['skipped_statuses']} were skipped")
    source = STAMPED.get(status, "observed_at")
    if data["occurred_at_source"] != source or event["time"] != data["occurred_at"]:
        wrong.append(f"{status} takes its time from {data['occurred_at_source']}")
    observed, occurred = datetime.fromisoformat(data["observed_at"]), datetime.fromisoformat(data["occurred_at"])
    if source != "observed_at" and abs(occurred - step.at) > CUT:
        wrong.append(f"{status} was entered at {step.at}, and says {occurred}")
    not_before = datetime.fromisoformat(data["not_before"]) if data["not_before"] else None
    if (not_before is None) != (last is None):
        wrong.append(f"{status} follows {last}, and says that it was not before {not_before}")
    if not (not_before or step.at) - CUT <= step.at <= observed + CUT:
        wrong.append(f"{status} was entered at {step.at}, and says between {not_before} and {observed}")
    return wrong


def _of_lanes(arrivals: Sequence[Arrival], lives: Mapping[str, Sequence[Step]]) -> list[str]:
    """In order per run, over all incarnations: no event before the last one was acknowledged, none again after it."""
    wrong = []
    lanes: defaultdict[str, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        if arrival.event["data"].get("run_uuid") in lives:
            lanes[arrival.event["source"]].append(arrival)
    for source, lane in lanes.items():
        done: set[str] = set()
        for earlier, later in pairwise(lane):
            if earlier.acknowledged:
                done.add(earlier.identity)
            names = f"{_name(earlier)} and then {_name(later)}"
            if earlier.identity != later.identity and earlier.identity not in done:
                wrong.append(f"{source}: {names}, which the receiver had not acknowledged")
            late = later.event["type"] == DIAGNOSED  # another run may have its id by then
            if not late and _place(later, lives) < _place(earlier, lives):
                wrong.append(f"{source}: {names}")
    return wrong


def _place(arrival: Arrival, lives: Mapping[str, Sequence[Step]]) -> tuple[datetime, str]:
    event = arrival.event
    return lives[event["data"]["run_uuid"]][0].at, event["sequence"]


def _name(arrival: Arrival) -> str:
    return f"{arrival.event['type']} number {arrival.event['sequence']}"
