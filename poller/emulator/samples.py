"""Runs and a batch that are made up: at random, and the runs of the demonstration. Pure: chance comes in."""

from __future__ import annotations

import random
from typing import Any

from poller.emulator.batch_specs import BatchSpec, Numbered, any_life
from poller.emulator.lives import GONE, Life, Step
from poller.emulator.runs import RunSpec


def demo_runs() -> tuple[RunSpec, ...]:
    """Fourteen runs that live every kind of life, the last one ended after some 18 seconds at speed 1."""

    def run(name: str, starts_in: float, life: Life, **more: Any) -> RunSpec:
        return RunSpec(
            life=life, name=name, starts_in=starts_in, tags={"project": "demo"}, workflow_name="rnaseq", **more
        )

    def failing(reason: str, starting: float, running: float, stopping: float | None = 1) -> Life:
        return Life.failed(reason, pending=1, starting=starting, running=running, stopping=stopping)

    steps = (("PENDING", 1.0), ("STARTING", 1.0), ("RUNNING", 4.0), ("STOPPING", 1.5))
    quick = (("PENDING", 3.0), ("STARTING", 0.1), ("RUNNING", 0.2), ("STOPPING", 0.1))
    deleted = Life.completed(0.5, 0.5, 2, 0.5, then=[Step("DELETED", 0.5), Step(GONE)])
    return (
        run("sample-01", 0.0, Life.completed(1, 1.5, 6, 1), run_group_id="9938959"),
        run("sample-02", 0.4, Life.completed(1, 2, 8, 1.5), run_group_id="9938959"),
        run("sample-03", 0.8, failing("RUN_TASK_FAILED", 1, 5)),
        run("sample-04-without-stopping", 1.2, failing("OUT_OF_MEMORY_ERROR", 1, 4, None)),
        run("sample-05-cancelled-pending", 1.6, Life.of(("PENDING", 4), "CANCELLED")),
        run("sample-06-cancelled-running", 2.0, Life.of(*steps, "CANCELLED")),
        run("sample-07-vanished", 2.4, Life.vanished(pending=1, starting=1, running=4)),
        run("sample-08-first-of-its-id", 0.2, deleted, run_id="7830534"),
        run("sample-08-second-of-its-id", 10.0, failing("IMPORT_FAILED", 1, 2), run_id="7830534"),
        run("sample-09-quick", 3.0, Life.of(*quick, "COMPLETED")),
        run("sample-10-import", 3.5, failing("IMPORT_FAILED", 2, 1)),
        run("sample-11-queued", 4.0, Life.completed(6, 1, 3, 1), retention_mode="REMOVE"),
        run("sample-12-late", 8.0, Life.completed(1, 1, 6, 1)),
        run("sample-13-service-error", 9.0, failing("SERVICE_ERROR", 1, 4)),
    )


def random_batch(number: int) -> BatchSpec:
    """A batch of so many runs with random lives. Raises: ValueError for more than a batch can have."""
    return BatchSpec(
        settings=Numbered("cohort", number), default={"runTags": {"project": "cohort"}}, life_of=any_life, name="cohort"
    )


def random_runs(number: int, rng: random.Random) -> list[RunSpec]:
    runs = []
    for place in range(number):
        project, workflow = rng.choice(("atlas", "panel", "pilot")), rng.choice(("rnaseq", "sarek", "viralrecon"))
        runs.append(
            RunSpec(
                life=Life.random(rng),
                starts_in=rng.uniform(0, 600) if place else 0.0,
                name=f"{project}-{place + 1:05d}",
                tags={"project": project},
                run_group_id=rng.choice((None, "9938959", "9938960")),
                workflow_id=str(4_074_992 + len(workflow)),
                workflow_name=workflow,
                workflow_version_name="1.2.1",
                retention_mode=rng.choice(("RETAIN", "REMOVE")),
                request={
                    "storageType": rng.choice(("DYNAMIC", "STATIC")),
                    "priority": 100,
                    "parameters": {"input": f"s3://emulated-inputs/{project}-{place + 1:05d}.csv"},
                },
                fields={"engineVersion": "24.10.8"} if workflow == "sarek" else {},
            )
        )
    return runs
