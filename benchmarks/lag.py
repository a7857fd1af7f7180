"""How long after a run changed its status somebody is told, and what that costs.

Three ways to follow the same lives under the same quotas (10 GetRun and 10 ListRuns a second), each in a process of its
own against an emulator of its own, all at the same time: the poller as a library with a callback; a boto3 waiter for
each run in a thread each; and a task for each run that asks GetRun and sleeps. The two alternatives ask as often as
the quota bears for that many runs: sleeping less, they would be throttled. (The waiter's own delay is 30 s.) A waiter
that gives up is started again. Lag is the time between the emulator's own stamp of a transition and the moment at which
the caller knows it.
"""

import asyncio
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import ask, emulated, end, figures, start
from benchmarks.tables import mean, percentile, seconds, show, times

QUOTA: Final = 10
ENDS: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
ARMS: Final = {"poller": "this poller", "waiters": "a waiter per run", "loop": "a loop per run"}
SEED: Final = 42


@dataclass(frozen=True, slots=True)
class Plan:
    """`runs` lives; all are over after `seconds`. `pause` is what the alternatives wait between two questions."""

    runs: int
    seconds: float

    @property
    def pause(self) -> float:
        return self.runs / QUOTA

    def lives(self) -> list[dict[str, Any]]:
        """The runs as the emulator takes them: the same ones at every call."""
        rng = random.Random(SEED)
        lives = []
        for number in range(self.runs):
            end = rng.choices(["COMPLETED", "FAILED", "CANCELLED"], [80, 15, 5])[0]
            shares = {
                "PENDING": (0.02, 0.1),
                "STARTING": (0.05, 0.15),
                "RUNNING": (0.15, 0.35),
                "STOPPING": (0.02, 0.1),
            }
            steps = [f"{status} {rng.uniform(*share) * self.seconds:.3f}" for status, share in shares.items()]
            starts_in = 1 + rng.uniform(0, 0.15) * self.seconds
            lives.append({"run_id": str(5_000_000 + number), "starts_in": starts_in, "life": [*steps, end]})
        return lives


@dataclass(slots=True)
class Told:
    """What one way of following knew, and when: (run id, status) -> wall clock."""

    known: dict[tuple[str, str], float] = field(default_factory=dict)
    given_up: int = 0

    def tell(self, run_id: str, status: str) -> None:
        self.known.setdefault((run_id, status), time.time())


Begin = Callable[[], Mapping[str, float]]
"""Starts the lives; when each run is there, by the wall clock."""


def by_poller(plan: Plan, begin: Begin, told: Told) -> None:
    """Our own: discovery and a callback."""
    from poller import Event, Poller

    async def main() -> None:
        polling = {"min_interval": 0.5, "max_calls_per_second": 9}
        async with Poller(discover=True, polling=polling) as poller:

            @poller.on_event
            def tell(event: Event) -> None:
                if event.run_id is not None and event.status is not None:
                    told.tell(event.run_id, event.status)

            begin()
            await asyncio.sleep(plan.seconds + 1)

    asyncio.run(main())


def by_waiters(plan: Plan, begin: Begin, told: Told) -> None:
    """boto3's `run_completed` waiter in a thread for each run; it knows no other status than the end."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import WaiterError

    client = boto3.client("omics", config=Config(max_pool_connections=plan.runs))
    waiter = client.get_waiter("run_completed")

    def wait(run_id: str, at: float) -> None:
        time.sleep(max(0, at - time.time()))
        while True:
            try:
                waiter.wait(id=run_id, WaiterConfig={"Delay": plan.pause, "MaxAttempts": 20})
            except WaiterError as error:
                if error.last_response.get("status") == "FAILED":
                    told.tell(run_id, "FAILED")
                    return
                told.given_up += 1
            else:
                told.tell(run_id, "COMPLETED")
                return

    for run_id, at in begin().items():
        threading.Thread(target=wait, args=(run_id, at), daemon=True).start()
    time.sleep(plan.seconds + 1)


def by_loop(plan: Plan, begin: Begin, told: Told) -> None:
    """A task for each run: GetRun, compare, sleep."""
    from aiobotocore.session import get_session

    async def follow(client: Any, run_id: str, at: float) -> None:
        await asyncio.sleep(max(0, at - time.time()))
        status = None
        while status not in ENDS:
            try:
                status = (await client.get_run(id=run_id))["status"]
            except client.exceptions.ClientError:
                told.given_up += 1
            else:
                told.tell(run_id, status)
            await asyncio.sleep(plan.pause)

    async def main() -> None:
        async with get_session().create_client("omics") as client:
            tasks = [asyncio.create_task(follow(client, run_id, at)) for run_id, at in begin().items()]
            await asyncio.wait(tasks, timeout=plan.seconds + 1)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


WAYS: Final[Mapping[str, Callable[[Plan, Begin, Told], None]]] = {
    "poller": by_poller,
    "waiters": by_waiters,
    "loop": by_loop,
}


def measure(arm: str, plan: Plan) -> dict[str, Any]:
    """Follow the plan's lives in one way; the figures."""
    told = Told()
    cpu = 0.0
    quotas = f"[quota_per_second]\nGetRun = {QUOTA}\nListRuns = {QUOTA}\n"
    with tempfile.TemporaryDirectory() as directory, emulated(Path(directory), quotas) as url:

        def begin() -> Mapping[str, float]:
            nonlocal cpu
            cpu = time.process_time()
            there = {}
            for run in plan.lives():
                ask(f"{url}/_emulator/runs", run)
                there[run["run_id"]] = time.time() + run["starts_in"]
            return there

        WAYS[arm](plan, begin, told)
        cpu = time.process_time() - cpu
        history = ask(f"{url}/_emulator/history")["transitions"]
        asked = ask(f"{url}/_emulator/calls")
    lags: dict[str, list[float]] = {"ends": [], "steps": []}
    missed = {"ends": 0, "steps": 0}
    for one in history:
        kind = "ends" if one["status"] in ENDS else "steps"
        known = told.known.get((one["run_id"], one["status"]))
        if known is None:
            missed[kind] += 1
        else:
            lags[kind].append(known - datetime.fromisoformat(one["at"]).timestamp())
    throttled = sum(number for _, outcome, number in asked["outcomes"] if outcome == "ThrottlingException")
    counts = asked["counts"]
    return {
        "lags": lags,
        "missed": missed,
        "get_run": counts.get("GetRun", 0),
        "list_runs": counts.get("ListRuns", 0),
        "throttled": throttled,
        "given_up": told.given_up,
        "cpu": cpu,
    }


def report(*, quick: bool) -> None:
    """Measure all three and print what came of it."""
    plan = Plan(20, 15) if quick else Plan(50, 45)
    arguments = ["quick"] if quick else []
    workers = {arm: start("benchmarks.lag", arm, *arguments) for arm in ARMS}
    try:
        results = {arm: figures(worker, plan.seconds + 60) for arm, worker in workers.items()}
    finally:
        for worker in workers.values():
            end(worker)
    ours = results["poller"]
    rows: list[list[str]] = []

    def row(name: str, value: Callable[[Any], str], ratio: Callable[[Any], float | None] | None = None) -> None:
        cells = []
        for arm, result in results.items():
            cell = value(result)
            if ratio is not None and arm != "poller":
                theirs, our = ratio(result), ratio(ours)
                if theirs is not None and our:
                    cell += f" ({times(theirs / our)})"
            cells.append(cell)
        rows.append([name, *cells])

    def lag(kind: str, of: Callable[[Sequence[float]], float | None]) -> Callable[[Any], float | None]:
        return lambda result: of(result["lags"][kind])

    def p99(values: Sequence[float]) -> float | None:
        return percentile(values, 0.99)

    for kind in ("ends", "steps"):
        row(f"{kind}: mean lag", lambda result, kind=kind: seconds(mean(result["lags"][kind])), lag(kind, mean))  # type: ignore[misc]
        row(f"{kind}: p99 lag", lambda result, kind=kind: seconds(p99(result["lags"][kind])), lag(kind, p99))  # type: ignore[misc]
        row(
            f"{kind}: told of all",
            lambda result, kind=kind: (  # type: ignore[misc]
                f"{len(result['lags'][kind])} of {len(result['lags'][kind]) + result['missed'][kind]}"
            ),
        )
    row("calls: GetRun + ListRuns", lambda result: f"{result['get_run']} + {result['list_runs']}")
    row("of them throttled", lambda result: str(result["throttled"]))
    row("gave up and began again", lambda result: str(result["given_up"]))
    row("CPU", lambda result: seconds(result["cpu"]), lambda result: float(result["cpu"]))
    show(
        f"Detection lag: {plan.runs} runs that live {plan.seconds:g} s at most, quota {QUOTA}/s",
        ["", *ARMS.values()],
        rows,
        [
            "In brackets: how many times ours. Poller: min_interval 500ms, ceiling 9/s, discovery. Waiters and loop "
            f"ask each run every {plan.pause:g} s, which is all that the quota bears; the waiter's default is 30 s. "
            "`run_completed` does not know CANCELLED, and no step before the end.",
        ],
    )


if __name__ == "__main__":
    chosen, *options = sys.argv[1:]
    print(json.dumps(measure(chosen, Plan(20, 15) if options else Plan(50, 45))))
