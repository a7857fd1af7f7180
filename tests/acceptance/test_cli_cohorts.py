"""A cohort beside a daemon that is killed amid it: one event, with the truth."""

import json
from pathlib import Path

from poller.emulator import Life
from poller.testing.emulator import RunningEmulator
from tests.acceptance.conftest import CONFIGURATION, Process, Start
from tests.acceptance.test_cli_daemon import begun, told_of

SLOW = Life.of(("PENDING", 0.2), ("STARTING", 0.2), "RUNNING")


def finished(*daemons: Process) -> list[dict[str, object]]:
    events = [json.loads(line) for daemon in daemons for line in daemon.data]
    return [event for event in events if event["type"] == "healthomics.cohort.finished"]


def test_a_cohort_is_told_once_over_a_kill(emulator: RunningEmulator, start: Start, config: Path) -> None:
    config.write_text(f'{CONFIGURATION}\n[[cohort]]\nname = "plate"\nrun_name = "plate-*"\nexpected = 3\n')
    first = begun(start, config)
    ids = [emulator.start_run(SLOW, name=f"plate-{number}") for number in range(3)]
    other = emulator.start_run(SLOW, name="another")
    first.wait_until(lambda: all("running" in told_of(first, run_id) for run_id in ids))
    emulator.move_run(ids[0], "COMPLETED")
    first.wait_until(lambda: "completed" in told_of(first, ids[0]))
    first.kill()
    emulator.move_run(ids[1], "FAILED")
    emulator.move_run(ids[2], "COMPLETED")
    emulator.move_run(other, "FAILED")
    second = begun(start, config)
    second.wait_for("cohort.finished", talk=True)
    second.wait_until(lambda: len(finished(second)) == 1)
    second.kill()
    third = begun(start, config)
    canary = emulator.start_run(SLOW, name="canary")
    third.wait_until(lambda: "running" in told_of(third, canary))
    told = {str(event["id"]): event for event in finished(first, second, third)}
    assert len(told) == 1
    (event,) = told.values()
    data = event["data"]
    assert isinstance(data, dict)
    assert (event["subject"], data["counts"]) == ("plate", {"completed": 2, "failed": 1})
    assert [one["run_id"] for one in data["not_completed"]] == [ids[1]]
    lines = [json.loads(line) for daemon in (first, second, third) for line in daemon.data]
    of_runs = [line for line in lines if line["type"].startswith("healthomics.run.")]
    assert {line["subject"] for line in of_runs if line["data"].get("cohorts") == ["plate"]} == set(ids)
    assert {line["subject"] for line in of_runs if "cohorts" not in line["data"]} == {other, canary}
