"""`match` in the configuration: what is refused, and what `check` warns of since it can never fit."""

from datetime import UTC, datetime
from typing import Final

import pytest

from poller.core.errors import ConfigError
from poller.core.matching import Match
from poller.settings.matches import meant_by

from .conftest import Load, warned

HEAD: Final = """\
[aws]
region = "us-east-1"
[watch]
discover = true
[[sinks]]
name = "a"
type = "topic"
topic_arn = "arn:aws:sns:x"
"""
COHORT: Final = '[[cohort]]\nname = "plate-7"\nrun_name = "plate-7-*"\n'
REST: Final = '[[sinks]]\nname = "all"\ntype = "topic"\ntopic_arn = "arn:aws:sns:x"\n'


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "match = 5",
            '9 [[sinks]] "a" match: expected a table, such as { name = "lab-*" }, or a list of tables, and not 5',
        ),
        ("match = {}", '9 [[sinks]] "a" match: an empty table fits every run; give it a key, or take it out'),
        ("match = []", '9 [[sinks]] "a" match: an empty list fits no run; leave the key out instead'),
        ("match = { nam = 'x' }", '9 [[sinks]] "a" match.nam: no such key; did you mean name?'),
        (
            "[[sinks.match]]\nrun_group_ids = ['1']",
            '10 [[sinks]] "a" match[0].run_group_ids: no such key; did you mean group?',
        ),
        (
            "[sinks.match]\nxyz = '1'",
            '10 [[sinks]] "a" match.xyz: no such key; there are name, tags, workflow, group, batch,',
        ),
        ("match = { name = [] }", '9 [[sinks]] "a" match.name: an empty list fits nothing; leave the key out instead'),
        (
            "match = [\n{ name = 'a' },\n{ group = 5 },\n]",
            '11 [[sinks]] "a" match[1].group: expected text, in quotes, or a list',
        ),
        ("match = { tags = { x = 5 } }", '9 [[sinks]] "a" match.tags.x: expected text, in quotes, or a list of texts'),
    ],
)
def test_what_is_no_match_is_refused_with_its_line(load: Load, written: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"{HEAD}{written}\n")
    assert str(caught.value).startswith(f"config.toml:{said}"), caught.value
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("run_group_ids", "group"), ("run_group_id", "group"), ("groups", "group"), ("workflow_ids", "workflow"),
        ("workflow-name", "workflow"), ("batch_ids", "batch"), ("name_prefix", "name"), ("run_name", "name"),
        ("account_id", "account"), ("tag", "tags"), ("reason", "failure_reason"), ("statuses", "status"), ("zzz", None),
    ],
)  # fmt: skip
def test_the_names_of_other_tables_lead_to_the_keys_of_a_match(word: str, key: str | None) -> None:
    assert meant_by(word) == key
    assert key is None or key in Match.model_fields


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("match = { status = 'FALED' }", 'match status: this version knows no status "FALED"; did you mean "FAILED"?'),
        (
            "match = { failure_reason = ['SERVICE_ERROR', 'out_of_memory'] }",
            'match failure_reason: this version knows no code "out_of_memory"; did you mean "OUT_OF_MEMORY_ERROR"?',
        ),
        ("match = { group = 'oncology' }", 'match group: "oncology" fits none, a run group is named by its id of 1'),
        ("match = { batch = ['7123456', 'b'] }", 'match batch: "b" fits none'),
        (
            f"match = {{ cohort = 'plate-8' }}\n{COHORT}",
            'match cohort: no [[cohort]] is called "plate-8"; did you mean "plate-7"?',
        ),
        (f"match = {{ cohort = 'x' }}\n{COHORT}", 'match cohort: no [[cohort]] is called "x"; there is plate-7'),
        ("match = { cohort = 'x' }", 'match cohort: no [[cohort]] is called "x"; there is none'),
        ("match = { account = '12345' }", 'match account: "12345" fits none, an account has 12 digits'),
        ("match = { region = 'eu-*' }", "match region: only us-east-1 is asked"),
        (
            "events = ['completed']\nmatch = { status = 'FAILED' }",
            "match can never fit what `events` takes: their status is COMPLETED",
        ),
        (
            "events = ['completed']\nmatch = { failure_reason = '*' }",
            "match can never fit what `events` takes: such events have no failure_reason",
        ),
        (
            "events = ['batch.*']\nmatch = { workflow = '*' }",
            "match can never fit what `events` takes: such events have no workflow",
        ),
        (
            "events = ['blind']\nmatch = { name = 'x' }",
            "match has no say: `events` takes only what the poller says of itself",
        ),
        (
            "events = ['failed', 'batch.failed']\nmatch = { group = '1' }",
            "events: batch.failed is never sent (match: such events have no group)",
        ),
        ("match = [{ name = 'a' }, { status = 'no' }]", "match number 2 status: this version knows no status"),
    ],
)
def test_what_can_never_fit_is_warned_of(load: Load, written: str, said: str) -> None:
    found = warned(load(f"{HEAD}{written}\n{REST}").settings)
    assert [one for one in found if one.startswith(f'[[sinks]] "a" {said}')], found
    assert len(found) == 1


def test_a_doubt_names_the_line_that_it_is_about(load: Load) -> None:
    two = "[[sinks.match]]\nname = 'a'\n[[sinks.match]]\nstatus = 'no'\n"
    watches = "[[watch]]\ndiscover = true\n[[watch]]\nmin_interval = 1\n"
    text = HEAD.replace("[watch]\ndiscover = true\n", "") + two + REST + watches
    says = {
        "number 2 status": "[[sinks.match]]\nstatus",
        "[[watch]] number 2": "[[watch]]\nmin_interval",
    }
    found = load(text).doubts(datetime.now(UTC))
    for part, at in says.items():
        line = text[: text.index(at)].count("\n") + 1
        assert [one for one in found if part in one and one.startswith(f"config.toml:{line} ")], found
    (nothing,) = load(HEAD.replace("discover = true\n", "") + REST.replace("all", "b")).doubts(datetime.now(UTC))
    assert nothing.startswith("nothing to watch: "), "about no line"


@pytest.mark.parametrize(
    "written",
    [
        "match = { name = 'x', tags = { a = '*' }, workflow = 'y', group = '1*', account = '123456789012' }",
        "match = { failure_reason = ['run_task_failed', 'SOMETHING_NEW', 'OUT_*'] }",
        f"match = {{ cohort = ['plate-7', 'nightly-*', '7123456'] }}\n{COHORT}",
        "match = { status = ['failed', 'PROCESSED'], region = 'us-*' }",
        "events = ['failed', 'vanished', 'blind']\nmatch = { name = 'x' }",
        "events = ['*']\nmatch = { status = 'FAILED' }",
    ],
)
def test_what_can_fit_is_not_warned_of(load: Load, written: str) -> None:
    assert warned(load(f"{HEAD}{written}\n{REST}").settings) == []


def test_a_region_that_only_the_environment_tells_is_not_judged(load: Load) -> None:
    text = f"{HEAD}match = {{ region = 'eu-*' }}\n{REST}".replace('region = "us-east-1"\n', "")
    assert warned(load(text).settings) == []


def test_it_is_said_where_nobody_is_told_of_runs_that_could_not_be_read(load: Load) -> None:
    (said,) = warned(load(f"{HEAD}match = {{ name = 'x' }}\n").settings)
    assert said.startswith(
        "every sink that takes `unreachable` has a match, and a run that was never read has no name,"
    )
    assert warned(load(f"{HEAD}events = ['failed', 'blind']\nmatch = {{ name = 'x' }}\n").settings) == []
    for asked in ("region = 'us-*'", "cohort = 'plate-7'", "account = '*'"):  # where it was, and who named it, is known
        assert warned(load(f"{HEAD}match = {{ {asked} }}\n{COHORT}").settings) == []
    assert len(warned(load(f"{HEAD}match = {{ region = 'us-*', name = 'x' }}\n").settings)) == 1
