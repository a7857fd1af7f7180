"""The operations: a request as it came, and its conditions, to the answer. No HTTP server, no clock, no chance.

What is refused carries the names of the service's model (`errors.py`); what is checked is what its shapes constrain.
Those about batches are in `batch_operations.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from poller.emulator import wire
from poller.emulator.batch_operations import BatchOperations
from poller.emulator.batch_specs import Pace
from poller.emulator.batches import Batches
from poller.emulator.errors import Refused, not_found, not_valid
from poller.emulator.faults import Fault
from poller.emulator.groups import group_answer
from poller.emulator.instants import SECOND
from poller.emulator.lists import Filters
from poller.emulator.lives import STATUSES, Life
from poller.emulator.paging import Paging
from poller.emulator.requests import (
    Answer,
    Conditions,
    Request,
    digits,
    id_in_path,
    one_of,
    text,
)
from poller.emulator.runs import Run
from poller.emulator.starting import LIFE_TAG, request_of, run_asked, spec_of
from poller.emulator.tasks import tasks_of
from poller.emulator.world import World

TASK_STATUSES: Final = STATUSES - {"DELETED"}

Operation = Callable[[Request, Conditions], Answer]


class Service:
    """The operations over one world.

    `new_life` gives the life of a run that is started by StartRun or StartRunBatch: by its name, or any. `batches`: of
    that world; `paging`: how its lists are cut into pages; `pace`: of the batches that StartRunBatch starts.
    """

    def __init__(
        self,
        world: World,
        new_life: Callable[[str | None], Life],
        *,
        batches: Batches,
        paging: Paging,
        pace: Pace | None = None,
    ) -> None:
        self.world, self._new_life = world, new_life
        self.paging = paging
        self._operations: Mapping[str, Operation] = {
            "GetRun": self._get_run,
            "ListRuns": self._list_runs,
            "ListRunTasks": self._list_run_tasks,
            "GetRunTask": self._get_run_task,
            "StartRun": self._start_run,
            "CancelRun": self._cancel_run,
            "DeleteRun": self._delete_run,
            "GetRunGroup": self._get_run_group,
            **BatchOperations(batches, paging, new_life, pace or {}).by_name,
        }

    def answer(
        self,
        request: Request,
        now: int,
        *,
        items: Mapping[str, Fault] | None = None,
        stale: float = 0.0,
        short: int | None = None,
    ) -> Answer:
        """The answer at `now`, or of `stale` seconds ago; `items`: faults of single runs in a list; `short`: no more
        items than this, whatever follows.

        Raises: Refused, with the error that the service would send.
        """
        self.world.advance(now)
        return self._operations[request.operation](request, Conditions(now, stale, items or {}, short))

    def _get_run(self, request: Request, conditions: Conditions) -> Answer:
        exports = request.query.get("export", ())
        for export in exports:
            if export != "DEFINITION":
                raise not_valid("export", export, "Member must satisfy enum value set: [DEFINITION]")
        run, index = self._run(request, conditions)
        return Answer(200, wire.encode(wire.run_answer(run, index, definition=bool(exports))))

    def _list_runs(self, request: Request, conditions: Conditions) -> Answer:
        filters = Filters(
            one_of(request, "status", STATUSES),
            digits(request, "runGroupId"),
            digits(request, "batchId"),
            text(request, "name", 128),
        )
        wanted = self.paging.wanted(request, conditions, (filters,))
        now, stale, items = conditions.now, conditions.stale, conditions.items

        def is_shown(run: Run) -> bool:
            return not conditions.hides(run.id) and run.visible("ListRuns", now)

        shown = is_shown if items or self.world.some_are_late else None
        if stale or any(fault.kind == "stale" for fault in items.values()):

            def instant_of(run: Run) -> int:
                fault = items.get(run.id)
                return now - round((fault.seconds if fault is not None else stale) * SECOND)

            pairs, more = self.world.page_at(filters, wanted.limit, wanted.after, shown, instant_of, skip=wanted.skip)
            bodies = [wire.encode(wire.item_answer(run, index)) for run, index in pairs]
            last = pairs[-1][0].key if pairs else None
        else:
            runs, more = self.world.page(filters, wanted.limit, wanted.after, shown, skip=wanted.skip)
            bodies = [_item(run) for run in runs]
            last = runs[-1].key if runs else None
        token = self.paging.next_token(wanted, conditions, number=len(bodies), last=last, more=more)
        return wire.listed(bodies, token)

    def _list_run_tasks(self, request: Request, conditions: Conditions) -> Answer:
        run, _index = self._run(request, conditions)
        status = one_of(request, "status", TASK_STATUSES)
        wanted = self.paging.wanted(request, conditions, (run.uuid, status))
        found = []
        for place, task in enumerate(tasks_of(run)):
            index = task.index_at(conditions.instant)
            if index >= 0 and (status is None or task.moments[index].status == status):
                found.append((place, (task, index)))
        page, token = self.paging.cut(found, wanted, conditions)
        return wire.listed([wire.encode(wire.task_item(run, task, index)) for task, index in page], token)

    def _get_run_task(self, request: Request, conditions: Conditions) -> Answer:
        task_id = id_in_path(request, "taskId")
        run, _index = self._run(request, conditions)
        for task in tasks_of(run):
            index = task.index_at(conditions.instant)
            if task.id == task_id and index >= 0:
                return Answer(200, wire.encode(wire.task_answer(run, task, index)))
        raise not_found(f"Task {task_id} of run {run.id}")

    def _start_run(self, request: Request, conditions: Conditions) -> Answer:
        asked = run_asked(request.body)
        known = self.world.started_by(asked["requestId"])
        if known is not None:
            return Answer(201, wire.encode(wire.started_answer(known)))
        if (template := asked.get("runId")) is not None:
            asked = {**request_of(self.world.get(template).spec), **asked}
        if asked.get("workflowId") is None:
            raise Refused("ValidationException", "Either workflowId or runId is required")
        spec = spec_of(asked, self._new_life((asked.get("tags") or {}).get(LIFE_TAG)))
        run = self.world.start(spec, conditions.now, request_id=asked["requestId"])
        return Answer(201, wire.encode(wire.started_answer(run)))

    def _cancel_run(self, request: Request, conditions: Conditions) -> Answer:
        self.world.cancel(self._run(request, Conditions(conditions.now))[0], conditions.now)
        return Answer(202, b"")

    def _delete_run(self, request: Request, conditions: Conditions) -> Answer:
        self.world.delete(self._run(request, Conditions(conditions.now))[0], conditions.now)
        return Answer(202, b"")

    def _get_run_group(self, request: Request, _: Conditions) -> Answer:
        group, created = self.world.groups.get(id_in_path(request))
        return Answer(200, wire.encode(group_answer(group, created, f"{self.world.scope}:runGroup/{group.group_id}")))

    def _run(self, request: Request, conditions: Conditions) -> tuple[Run, int]:
        """The run that the path names, and which of its moments to show."""
        run_id = id_in_path(request)
        stale, then = conditions.stale, conditions.instant
        run = self.world.get_at(run_id, then) if stale else self.world.get(run_id)
        if not run.visible(request.operation, conditions.now):
            raise not_found(f"Run {run_id}")
        return run, run.index_at(then) if stale else run.index


def _item(run: Run) -> bytes:
    """The run's item in lists, kept until it moves on: the same one is asked for again and again."""
    if run.rendered is None:
        run.rendered = wire.encode(wire.item_answer(run, run.index))
    return run.rendered
