"""Scenario files: what they say, and what is said of their mistakes."""

import random
from pathlib import Path

import pytest

from poller.emulator import (
    GONE,
    SERVICE_QUOTAS,
    Emulator,
    FailedTask,
    Fault,
    Life,
    Outage,
    RunGroup,
    Scenario,
    ScenarioError,
    Step,
    demo_scenario,
    random_scenario,
)
from poller.emulator.lives import ENDS
from poller.emulator.tables import seconds_of

WHOLE = """
default_life = "ok"
order = "oldest"
max_runs = 1000
reuse_ids = true
cancel_seconds = "2s"
deleted_seconds = 1
random_runs = 3

counters_lag_seconds = "30s"
paging = "offset"
token_seconds = "1h"

[quota_per_second]
GetRun = 10

[foreign_calls_per_second]
ListRuns = 4.5

[batch_pace]
creating = "2s"
runs_per_second = 100

[[batches]]
runs = 5000
name = "cohort"
life = "ok"
batch_id = "7123456"
failed_submissions = 3
submission_failure = "ThrottlingException"
starts_in = -60
pending = 0
tags = { project = "x" }
default_run_setting = { runGroupId = "12", runTags = { project = "x" } }

[[batches]]
runs = [{ runSettingId = "a" }, { runSettingId = "b", priority = 7 }]
life = "random"
failure_reason = "no access"

[[groups]]
group_id = "12"
name = "lab"
max_runs = 50
max_duration = 600

[[outages]]
start = "10m"
seconds = "30s"
kind = "hang"
operations = ["GetRun", "ListRuns"]

[visible_after]
GetRun = "1.5s"

[lives]
ok = ["PENDING 2", "RUNNING 5m", "STOPPING 200ms", "COMPLETED"]
odd = ["PENDING 1", { status = "PAUSED", seconds = "1h", fields = { newer = true } }, "FAILED 1", "COMPLETED", "GONE"]

[[runs]]
life = "ok"
name = "sample"
count = 2
every = 3
starts_in = -10
run_group_id = "12"
tags = { project = "x" }
request = { outputUri = "s3://a/b" }

[[runs]]
life = ["RUNNING"]
run_id = "77"
fields = { uuid = "u" }
visible_after = { ListRuns = 2 }
failed_tasks = [{ name = "ALIGN" }, { reason = "TASK_TIMED_OUT", message = "too slow" }]

[[faults]]
kind = "error"
operation = "GetRun"
code = "ThrottlingException"
count = 3
end = "1m"
"""


def load(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return Scenario.load(path)


def test_a_scenario_file_says_everything_that_a_scenario_can_hold(tmp_path: Path) -> None:
    scenario = load(tmp_path, WHOLE)

    ok = Life.of(("PENDING", 2), ("RUNNING", 300), ("STOPPING", 0.2), "COMPLETED")
    assert scenario.lives["ok"] == scenario.default_life == ok
    assert scenario.lives["odd"].steps[1:] == (
        Step("PAUSED", 3600, {"newer": True}),
        Step("FAILED", 1),
        Step("COMPLETED"),
        Step(GONE),
    )
    assert [(run.name, run.starts_in) for run in scenario.runs[:2]] == [("sample-1", -10), ("sample-2", -7)]
    assert scenario.runs[0].life == ok
    assert scenario.runs[0].request == {"outputUri": "s3://a/b"}
    assert (scenario.runs[2].run_id, scenario.runs[2].fields) == ("77", {"uuid": "u"})
    assert scenario.runs[2].visible_after == {"ListRuns": 2}
    assert scenario.runs[2].failed_tasks == (FailedTask("ALIGN"), FailedTask("ALIGN", "TASK_TIMED_OUT", "too slow"))
    assert len(scenario.runs) == 6
    assert scenario.faults == (Fault(kind="error", operation="GetRun", code="ThrottlingException", count=3, end=60.0),)
    assert (scenario.quota_per_second, scenario.visible_after) == ({"GetRun": 10}, {"GetRun": 1.5})
    assert (scenario.order, scenario.max_runs, scenario.reuse_ids) == ("oldest", 1000, True)
    assert (scenario.cancel_seconds, scenario.deleted_seconds) == (2, 1)
    assert (scenario.counters_lag_seconds, scenario.paging, scenario.token_seconds) == (30, "offset", 3600)
    assert scenario.foreign_calls_per_second == {"ListRuns": 4.5}
    assert scenario.groups == (RunGroup(group_id="12", name="lab", max_runs=50, max_duration=600),)
    assert scenario.outages == (Outage(start=600, seconds=30, kind="hang", operations=("GetRun", "ListRuns")),)


def test_a_scenario_file_says_what_batches_there_are(tmp_path: Path) -> None:
    numbered, listed = load(tmp_path, WHOLE).batches

    assert (len(numbered.settings), numbered.settings[4999]["runSettingId"]) == (5000, "cohort-5000")
    assert (numbered.batch_id, numbered.name, numbered.starts_in) == ("7123456", "cohort", -60)
    assert (numbered.creating, numbered.pending, numbered.runs_per_second) == (2, 0, 100)
    assert (numbered.failed_submissions, numbered.submission_failure) == (3, "ThrottlingException")
    assert numbered.default == {"runGroupId": "12", "runTags": {"project": "x"}}
    assert numbered.life_of is not None
    assert numbered.life_of({}, 0, random.Random(1)) == load(tmp_path, WHOLE).lives["ok"]
    assert [dict(setting) for setting in listed.settings] == [
        {"runSettingId": "a"},
        {"runSettingId": "b", "priority": 7},
    ]
    assert listed.failure_reason == "no access"
    assert listed.life_of is not None
    assert listed.life_of({}, 0, random.Random(1)) != listed.life_of({}, 0, random.Random(2))


async def test_a_scenario_with_batches_begins_with_them(tmp_path: Path) -> None:
    async with Emulator(load(tmp_path, WHOLE.replace("max_runs = 1000", ""))) as emulator:
        first, second = ({entry.batch_id: entry.status for entry in emulator.batch_history()}).items()

        assert first == ("7123456", "INPROGRESS")
        assert second[1] == "CREATING"
        assert len(emulator.batch_runs("7123456")) == 4997
        assert emulator.census()["PENDING"] >= 4900  # its group lets 50 of them go on


def test_an_empty_file_is_an_empty_scenario(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Scenario()
    assert load(tmp_path, 'quota_per_second = "service"').quota_per_second == SERVICE_QUOTAS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("= 1", "not TOML"),
        ("ordre = 1", "ordre: no such key; did you mean order?"),
        ('order = "best"', "order: 'best' is not one of newest, oldest, arbitrary"),
        ("max_runs = 0", "max_runs: 0 is not a whole number above 0"),
        ("reuse_ids = 1", "reuse_ids: 1 is not true or false"),
        ("quota_per_second = 0", "quota_per_second: a quota of 0 calls"),
        ("quota_per_second = true", "quota_per_second: True is neither"),
        ("[quota_per_second]\nGetrun = 1", "Getrun: no such key; did you mean GetRun?"),
        (
            '[[runs]]\nlife = "okk"\n[lives]\nok = ["RUNNING"]',
            "runs[1].life: no life is called 'okk'; did you mean ok?",
        ),
        ("[[runs]]\nlife = 7", "runs[1].life: a life is a list of steps"),
        ('[[runs]]\nrunid = "7"', "runs[1]: runid: no such key; did you mean run_id?"),
        ("[[runs]]\nrun_id = 7", "runs[1].run_id: 7 is not text"),
        ("[[runs]]\nfailed_tasks = 1", "runs[1].failed_tasks: 1 is not a list"),
        ('[[runs]]\nfailed_tasks = [{ reasn = "x" }]', "failed_tasks[1]: reasn: no such key; did you mean reason?"),
        ("[[runs]]\nfailed_tasks = [{ reason = 1 }]", "runs[1].failed_tasks[1].reason: 1 is not text"),
        ('[[runs]]\nrun_id = "7"\ncount = 2', "runs[1].count: 2 runs cannot share one run_id"),
        ("[lives]\nx = []", "lives.x: a life needs at least one step"),
        ('[lives]\nx = ["RUNNING soon"]', "lives.x[1]: 'soon' is not a duration"),
        ("[lives]\nx = [1]", "lives.x[1]: a step is"),
        ("[lives]\nx = [{ seconds = 1 }]", "lives.x[1].status: None is not text"),
        ('[lives]\nx = [{ status = "RUNNING", second = 1 }]', "lives.x[1]: second: no such key; did you mean seconds?"),
        ('[[faults]]\nkind = "bang"', "faults[1].kind: 'bang' is not one of error, reset"),
        ('[[faults]]\nkind = "error"\ncode = "X"', "faults[1]: X needs an http_status"),
        ('[[faults]]\nkind = "reset"\noperation = "Look"', "faults[1]: no operation is called Look"),
        ('[[faults]]\nkind = "reset"\nprobability = "x"', "faults[1].probability: 'x' is not a number"),
        ('[[faults]]\nkind = "short_page"\nitems = -1', "faults[1].items: -1 is not a whole number from 0 on"),
        ('runs = "many"', "runs: 'many' is not a list"),
        ('paging = "pages"', "paging: 'pages' is not one of cursor, offset"),
        ('token_seconds = "soon"', "token_seconds: 'soon' is not a duration"),
        ("[foreign_calls_per_second]\nGetRuns = 1", "GetRuns: no such key; did you mean GetRun?"),
        ("[foreign_calls_per_second]\nGetRun = -1", "foreign_calls_per_second.GetRun: -1 is not a number from 0 on"),
        ("[batch_pace]\nspeed = 1", "batch_pace: speed: no such key"),
        ("[batch_pace]\nruns_per_second = 0", "batch_pace.runs_per_second: 0 is not above 0"),
        ("[[batches]]", "batches[1].runs: None is not a whole number above 0"),
        ("[[batches]]\nruns = 100001", "batches[1]: a batch has 1 to 100000 runs, not 100001"),
        ('[[batches]]\nruns = 3\nlife = "good"', "batches[1].life: no life is called 'good'"),
        ("[[batches]]\nruns = 3\nfailed_submissions = 4", "batches[1]: of 3 submissions, 4 cannot fail"),
        ('[[batches]]\nruns = [{ runSettingID = "a" }]', "batches[1].runs[1]: runSettingID: no such key; did you mean"),
        ("[[batches]]\nruns = [{ }]", "batches[1].runs[1].runSettingId: None is not text"),
        (
            "[[batches]]\nruns = 1\ndefault_run_setting = { runGroup = 1 }",
            "batches[1].default_run_setting: runGroup: no such key; did you mean runGroupId?",
        ),
        ("[[groups]]\nmax_runs = 1", "groups[1].group_id: None is not text"),
        ('[[groups]]\ngroup_id = "x"', "groups[1]: the id of a run group is 1 to 18 digits, not 'x'"),
        ('[[groups]]\ngroup_id = "7"\nmax_run = 1', "groups[1]: max_run: no such key; did you mean max_runs?"),
        ("[[outages]]\nstart = 5", "outages[1].seconds: None is not a duration"),
        ('[[outages]]\nseconds = 5\nkind = "dark"', "outages[1].kind: 'dark' is not one of unavailable, hang, reset"),
        ('[[outages]]\nseconds = 5\noperations = ["Look"]', "outages[1]: no operation is called Look"),
    ],
)
def test_a_mistake_is_told_with_its_file_its_key_and_what_would_be_right(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, text)

    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "scenario.toml"))


def test_the_sample_in_the_documentation_is_a_scenario(tmp_path: Path) -> None:
    document = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text()
    scenario = load(tmp_path, document.partition("```toml\n")[2].partition("```")[0])

    assert len(scenario.runs) == 23
    assert [len(batch.settings) for batch in scenario.batches] == [5000, 10]
    assert len(scenario.faults) == len(scenario.groups) == len(scenario.outages) == 1


def test_durations_have_units() -> None:
    assert [seconds_of(text, "x") for text in (2, 0.5, "3", "250ms", "1.5s", "2m", "1h")] == [
        2,
        0.5,
        3,
        0.25,
        1.5,
        120,
        3600,
    ]


def test_random_scenarios_repeat_with_their_seed() -> None:
    assert random_scenario(20, seed=3) == random_scenario(20, seed=3) != random_scenario(20, seed=4)
    assert len(random_scenario(20).runs) == 20


def test_the_demo_shows_every_kind_of_life_within_eighteen_seconds() -> None:
    runs = demo_scenario().runs
    steps = [[step.status for step in run.life.steps] for run in runs]
    lasting = [run.starts_in + sum(step.seconds for step in run.life.steps if step.status not in ENDS) for run in runs]

    assert 10 <= len(runs) <= 16
    assert 14 <= max(lasting) <= 18
    assert {statuses[-1] for statuses in steps} == {*ENDS, GONE}
    assert ["PENDING", "CANCELLED"] in steps
    assert ["PENDING", "STARTING", "RUNNING", "FAILED"] in steps
    assert ["PENDING", "STARTING", "RUNNING", GONE] in steps
    ids = [run.run_id for run in runs if run.run_id]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert len({run.starts_in for run in runs}) == len(runs)
