"""Answers made by hand, and what is told of them one after another."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from poller.core.machine import observe
from poller.core.runs import EmitFirst, KnownRun, Snapshot
from poller.core.transitions import Transition

from .lives import RUN_ID, Life, answer, at

CREATED = at(0)
FIELDS = {"workflowId": "7", "workflowVersionName": "1.0", "runGroupId": "3", "arn": "a"}


def look(
    status: str,
    second: float,
    *,
    full: bool = True,
    uuid: str | None = "uuid-a",
    created: datetime | None = CREATED,
    start: float | None = None,
    stop: float | None = None,
    **fields: Any,
) -> Snapshot:
    """A GetRun answer that was asked for at `second` and came 0.2 s later."""
    return Snapshot(
        run_id=RUN_ID,
        status=status,
        full=full,
        asked_at=at(second),
        answered_at=at(second + 0.2),
        uuid=uuid if full else None,
        creation_time=created,
        start_time=None if start is None else at(start),
        stop_time=None if stop is None else at(stop),
        fields=fields,
    )


def item(status: str, second: float, **rest: Any) -> Snapshot:
    return look(status, second, full=False, **rest)


def seen(*snapshots: Snapshot, emit_first: EmitFirst = "always") -> tuple[KnownRun, list[Transition]]:
    known = KnownRun(RUN_ID, emit_first=emit_first)
    told: list[Transition] = []
    for snapshot in snapshots:
        known, transitions, _ = observe(known, snapshot)
        told += transitions
    return known, told


def kinds(told: Sequence[Transition]) -> list[str]:
    return [one.kind for one in told]


def shown(life: Life, asked: float, **options: Any) -> Snapshot:
    """What the service shows of a run of a workflow."""
    snapshot = answer([life], asked, **options)
    assert snapshot is not None
    return replace(snapshot, fields=FIELDS)


def looked_at(life: Life, *seconds: float) -> tuple[KnownRun, list[Transition]]:
    known, told = KnownRun(RUN_ID), list[Transition]()
    for second in seconds:
        known, transitions, _ = observe(known, shown(life, second))
        told += transitions
    return known, told
