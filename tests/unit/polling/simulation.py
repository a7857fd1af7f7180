"""Hours of polling in milliseconds: a scope over the emulator's world, without HTTP, on a virtual clock.

The answers are the emulator's own JSON, read by our own parser, so that what is simulated is only the network and time.
"""

import asyncio
import json
import random
import selectors
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio

from poller.bell import Bell
from poller.core.batches import BatchSnapshot
from poller.core.cadence import DEFAULT_PACE, Pace
from poller.core.diagnosis import NO_DIAGNOSIS, DiagnosisTerms, RunTask
from poller.core.drafts import Place
from poller.core.errors import Blind, ServiceError, Throttled, Transient
from poller.core.events import Event
from poller.core.overdue import NO_TERMS, Terms
from poller.core.runs import GroupLimits, Snapshot
from poller.emulator.batch_specs import BatchSpec, LifeOf, Numbered
from poller.emulator.batches import Batches
from poller.emulator.errors import Refused
from poller.emulator.instants import instant_of
from poller.emulator.lives import Life
from poller.emulator.paging import Mode, Paging
from poller.emulator.quota import Quota
from poller.emulator.requests import Request
from poller.emulator.runs import RunSpec
from poller.emulator.service import Service
from poller.emulator.starting import usual_setting
from poller.emulator.world import World
from poller.foundation import Foundation
from poller.gate import RecordGate
from poller.healthomics.manifest import run_of, stream_of
from poller.healthomics.parse import BY_CODE, batch_page_of, batch_snapshot_of, group_limits_of, page_of, snapshot_of
from poller.healthomics.tasks import failed_tasks_in, task_of, task_page_of
from poller.polling.rules import Rule
from poller.polling.scope import Scope
from poller.ports.service import BatchPage, Manifest, Page, Spend, TaskPage
from poller.ports.store import Store
from poller.store.opening import open_store
from poller.telemetry import Tally

T = TypeVar("T")
START = datetime(2026, 11, 23, 8, tzinfo=UTC)
ACCOUNT = "123456789012"
REGION = "us-east-1"
LATENCY = 0.06
BRISK = Pace(
    min_interval=timedelta(milliseconds=500),
    max_interval=timedelta(seconds=10),
    ceiling=10,
    vanish_deadline=timedelta(seconds=6),
)
"""A pace at which a life of minutes is seen step by step."""
DISCOVERY: Final = Rule(discover=True)


class _Waits(selectors.DefaultSelector):
    """Waits for nothing but what nobody knows when it comes; `passed` is how long it would have waited, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if timeout is not None and not ready:
            self.passed += timeout
        return ready


class _VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes as fast as it is waited for: for code without threads and other processes."""

    def __init__(self) -> None:
        self._waits = _Waits()
        super().__init__(self._waits)

    def time(self) -> float:
        return self._waits.passed


def virtually(body: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function on a loop of virtual time, from 0 on."""

    async def main() -> T:
        return await body()

    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(main())


class VirtualClock:
    """A Clock that follows the loop's time."""

    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@dataclass
class SimulatedService:
    """A RunService over a world.

    `fails` may raise for a call, `hangs` leaves it without answer; `quota` is calls per second, per operation.
    """

    world: World
    clock: VirtualClock
    quota: float | None = None
    account_id: str | None = ACCOUNT
    fails: Callable[[str, str | None], None] = lambda _operation, _run_id: None
    hangs: Callable[[], bool] = lambda: False
    latency: float = LATENCY
    counters_lag: float = 0.0
    page_size: int = 100
    paging: Mode = "cursor"
    calls: Counter[str] = field(default_factory=Counter)
    times: list[tuple[float, str, str | None]] = field(default_factory=list)
    manifests: dict[tuple[str, str], tuple[float, Snapshot]] = field(default_factory=dict)
    """By run id and uuid: the second from which on it is there, and what it says."""
    manifest_lines: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """By run id and uuid: what the whole manifest says, its tasks too."""
    logs: dict[str, list[str]] = field(default_factory=dict)
    """The lines of each log stream, by its ARN."""
    throttled: int = 0
    renewed: int = 0

    def __post_init__(self) -> None:
        self._quota = Quota(self.quota)
        self.batches = Batches(self.world, random.Random(2), lag_seconds=self.counters_lag)
        paging = Paging(self.paging)
        self.service = Service(self.world, lambda _: Life.of("RUNNING"), batches=self.batches, paging=paging)

    async def get_run(self, run_id: str) -> Snapshot:
        body, asked, answered = await self._call("GetRun", Request("GetRun", {"id": run_id}), run_id)
        return snapshot_of(body, run_id, asked_at=asked, answered_at=answered)

    async def list_runs(
        self,
        *,
        status: str | None = None,
        group: str | None = None,
        batch: str | None = None,
        token: str | None = None,
    ) -> Page:
        given = {"status": status, "runGroupId": group, "batchId": batch, "startingToken": token}
        given["maxResults"] = str(self.page_size)
        query = {key: [value] for key, value in given.items() if value is not None}
        body, asked, answered = await self._call("ListRuns", Request("ListRuns", query=query), None)
        return page_of(body, headers={}, asked_at=asked, answered_at=answered)

    async def get_batch(self, batch_id: str) -> BatchSnapshot:
        body, asked, answered = await self._call("GetBatch", Request("GetBatch", {"batchId": batch_id}), None)
        return batch_snapshot_of(body, batch_id, asked_at=asked, answered_at=answered)

    async def list_runs_in_batch(self, batch_id: str, *, token: str | None = None) -> BatchPage:
        query = {"maxItems": ["100"], **({} if token is None else {"startingToken": [token]})}
        request = Request("ListRunsInBatch", {"batchId": batch_id}, query)
        body, _, _ = await self._call("ListRunsInBatch", request, None)
        return batch_page_of(body)

    async def get_run_group(self, group_id: str) -> GroupLimits:
        body, _, _ = await self._call("GetRunGroup", Request("GetRunGroup", {"id": group_id}), None)
        return group_limits_of(body, group_id)

    async def manifest(
        self, run_id: str, *, uuid: str | None = None, created: datetime | None = None, spend: Spend
    ) -> Manifest | None:
        """As the real one: by the uuid, else the newest one, of that creationTime where there is one."""
        await self._ask_logs("GetLogEvents" if uuid is not None else "DescribeLogStreams", run_id, spend)
        there = [
            (since, life, shown)
            for (of_run, life), (since, shown) in self.manifests.items()
            if of_run == run_id and since <= self.clock.monotonic()
        ]
        for _, life, shown in sorted(there, key=lambda one: one[0], reverse=True):
            if uuid == life or (uuid is None and created in (None, shown.creation_time)):
                answered = replace(shown, answered_at=self.clock.now(), asked_at=self.clock.now())
                return Manifest(answered, f"manifest/run/{run_id}/{life}")
        return None

    async def list_failed_tasks(self, run_id: str, *, token: str | None = None) -> TaskPage:
        query = {"status": ["FAILED"], "maxResults": ["100"], **({} if token is None else {"startingToken": [token]})}
        body, _, _ = await self._call("ListRunTasks", Request("ListRunTasks", {"id": run_id}, query), run_id)
        return task_page_of(body)

    async def get_run_task(self, run_id: str, task_id: str) -> RunTask:
        request = Request("GetRunTask", {"id": run_id, "taskId": task_id})
        body, _, _ = await self._call("GetRunTask", request, run_id)
        return task_of(body, task_id)

    async def failed_tasks_in_manifest(self, run_id: str, uuid: str, *, spend: Spend) -> list[RunTask] | None:
        await self._ask_logs("GetLogEvents", run_id, spend)
        lines = self.manifest_lines.get((run_id, uuid))
        return None if lines is None else failed_tasks_in(lines, run_id)

    async def last_log_lines(
        self,
        stream: str,
        number: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        spend: Spend,
    ) -> list[str] | None:
        await self._ask_logs("GetLogEvents", None, spend)
        lines = self.logs.get(stream)
        return None if lines is None else lines[-number:]

    async def account(self) -> str | None:
        self.fails("GetCallerIdentity", None)
        return self.account_id

    async def renew(self) -> None:
        self.renewed += 1

    async def close(self) -> None:
        pass

    async def _ask_logs(self, operation: str, run_id: str | None, spend: Spend) -> None:
        await spend(operation)
        self.calls[operation] += 1
        self.times.append((self.clock.monotonic(), operation, run_id))
        await anyio.sleep(self.latency)
        if not self._quota.take(operation, instant_of(self.clock.now())):
            self.throttled += 1
            raise Throttled("ThrottlingException", "Rate exceeded", operation=operation)
        self.fails(operation, run_id)

    async def _call(self, operation: str, request: Request, run_id: str | None) -> tuple[bytes, datetime, datetime]:
        asked = self.clock.now()
        self.calls[operation] += 1
        self.times.append((self.clock.monotonic(), operation, run_id))
        await anyio.sleep(self.latency / 2)
        if not self._quota.take(operation, instant_of(self.clock.now())):
            self.throttled += 1
            raise Throttled("ThrottlingException", "Rate exceeded", operation=operation)
        self.fails(operation, run_id)
        if self.hangs():
            await anyio.sleep_forever()
        try:
            answer = self.service.answer(request, instant_of(self.clock.now()))
        except Refused as refused:
            raise BY_CODE.get(refused.code, Transient)(refused.code, refused.message, operation=operation) from refused
        await anyio.sleep(self.latency / 2)
        return answer.body, asked, self.clock.now()


@dataclass
class Simulation:
    """A world, a service over it, a record, and one scope after another that follows."""

    world: World
    service: SimulatedService
    clock: VirtualClock
    store: Store
    rng: random.Random
    pace: Pace
    terms: Terms = NO_TERMS
    diagnosis: DiagnosisTerms = NO_DIAGNOSIS
    tally: Tally = field(default_factory=Tally)
    gate: RecordGate = field(init=False)

    def __post_init__(self) -> None:
        self.gate = RecordGate(self.clock, self.rng.random)

    def start_run(self, *steps: Any, **options: Any) -> str:
        return self.world.start(RunSpec(life=Life.of(*steps), **options), instant_of(self.clock.now())).id

    def start_life(self, life: Life, **options: Any) -> str:
        return self.world.start(RunSpec(life=life, **options), instant_of(self.clock.now())).id

    def start_batch(self, runs: int, life_of: LifeOf, *, runs_per_second: float = 20) -> str:
        spec = BatchSpec(
            settings=Numbered("sample", runs),
            default=usual_setting(ACCOUNT),
            life_of=life_of,
            runs_per_second=runs_per_second,
        )
        return self.service.batches.start(spec, instant_of(self.clock.now())).id

    def leave_manifest(self, run_id: str, uuid: str, status: str, at: float = 0, **members: Any) -> None:
        """Let CloudWatch Logs have the manifest of a run from this second on."""
        line = {
            "arn": f"arn:aws:omics:{REGION}:{ACCOUNT}:run/{run_id}",
            "uuid": uuid,
            "status": status,
            "stopTime": (START + timedelta(seconds=at)).isoformat(),
            **members,
        }
        stream = stream_of(run_id, uuid)
        shown = run_of([json.dumps(line)], run_id, stream, asked_at=START, answered_at=START)
        assert shown is not None
        self.service.manifests[run_id, uuid] = (at, shown)

    def advance(self) -> None:
        self.world.advance(instant_of(self.clock.now()))

    @asynccontextmanager
    async def polling(
        self,
        rule: Rule | tuple[Rule, ...] = DISCOVERY,
        run_ids: tuple[str, ...] = (),
    ) -> AsyncIterator[Scope]:
        """A scope that runs while the context is open, and follows by one watch or several; leaving it is a crash."""
        rules = rule if isinstance(rule, tuple) else (replace(rule, run_ids=rule.run_ids.union(run_ids)),)
        scope = Scope(
            Foundation(self.store, self.gate, Bell(), self.clock, self.rng.random, self.tally),
            place=Place(REGION, REGION, None),
            service=self.service,
            instance="test",
            pace=self.pace,
            rules=rules,
            terms=self.terms,
            diagnosis=self.diagnosis,
        )
        async with anyio.create_task_group() as tasks:
            await tasks.start(scope.run)
            yield scope
            tasks.cancel_scope.cancel()

    async def events(self, kind: str | None = None) -> list[Event]:
        events = await self.store.events(limit=100_000)
        return [event for event in events if kind is None or event.kind == kind]

    async def kinds(self, run_id: str) -> list[str]:
        return [event.kind for event in await self.events() if event.run_id == run_id]

    def truth(self) -> dict[tuple[str, str], list[tuple[str, datetime]]]:
        """What truly happened: (run id, uuid) -> statuses and when."""
        self.advance()
        lives: dict[tuple[str, str], list[tuple[str, datetime]]] = {}
        for one in self.world.transitions:
            lives.setdefault((one.run_id, one.uuid), []).append((one.status, one.at))
        return lives


@asynccontextmanager
async def simulated(
    *,
    seed: int = 1,
    pace: Pace = DEFAULT_PACE,
    terms: Terms = NO_TERMS,
    diagnosis: DiagnosisTerms = NO_DIAGNOSIS,
    quota: float | None = None,
    order: Any = "newest",
    speed: float = 1.0,
    **service: Any,
) -> AsyncIterator[Simulation]:
    clock = VirtualClock()
    rng = random.Random(seed)
    world = World(account_id=ACCOUNT, region=REGION, rng=random.Random(seed), order=order, speed=speed)
    store = open_store("sqlite://", directory=Path.cwd())
    await store.open()
    try:
        simulated = SimulatedService(world, clock, quota, **service)
        yield Simulation(world, simulated, clock, store, rng, pace, terms, diagnosis)
    finally:
        await store.close()


def refused(kind: type[ServiceError], code: str) -> ServiceError:
    return kind(code, "as the test wants it", operation="test")


def failing(
    kind: type[ServiceError], code: str, *operations: str, run: str | None = None
) -> Callable[[str, str | None], None]:
    """Fails each call of these operations, or of all where none is named; with `run` only those about that one."""

    def fails(operation: str, run_id: str | None) -> None:
        if (not operations or operation in operations) and run in (None, run_id):
            raise refused(kind, code)

    return fails


NO_CREDENTIALS = Blind("ExpiredTokenException", "The security token included in the request is expired")
