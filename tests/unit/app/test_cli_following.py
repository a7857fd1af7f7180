"""What `watch` makes of events: when a run counts as done, and the one exit code of many."""

from itertools import permutations

import pytest

from poller.app.cli.exits import ExitCode
from poller.app.cli.following import Followed, exit_code, passed, summary
from poller.core.samples import sample_event

ORDER = [130, 141, 2, 124, 1, 10, 12, 11, 0]


def test_of_several_the_first_of_the_contract_is_told() -> None:
    assert [int(code) for code in sorted(ExitCode, key=lambda code: ORDER.index(code))] == ORDER
    for pair in permutations(ExitCode, 2):
        assert ExitCode.first_of(pair) == min(pair, key=ORDER.index)
    assert ExitCode.first_of([]) is ExitCode.OK


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("pending", None),
        ("running", None),
        ("stopping", None),
        ("unknown_status", None),
        ("completed", 0),
        ("failed", 10),
        ("cancelled", 11),
        ("deleted", 11),
        ("vanished", 12),
        ("unreachable", 12),
        ("replaced", 12),
    ],
)
def test_how_following_ends(kind: str, code: int | None) -> None:
    run = Followed("1234567")
    run.take(sample_event(kind))
    assert run.code == code


def test_what_comes_after_the_end_or_of_others_says_nothing() -> None:
    run = Followed("1234567")
    run.take(sample_event("running"))
    run.take(sample_event("failed", run_id="99"))
    run.take(sample_event("failed", run_uuid="another incarnation"))
    run.take(sample_event("blind"))
    assert run.code is None
    run.take(sample_event("completed"))
    run.take(sample_event("contradicted"))
    assert run.code is ExitCode.OK
    assert run.status == "COMPLETED"


@pytest.mark.parametrize(
    ("until", "kind", "fields", "reached"),
    [
        ("RUNNING", "running", {}, True),
        ("STARTING", "running", {}, True),
        ("PENDING", "starting", {}, True),
        ("RUNNING", "starting", {}, False),
        ("RUNNING", "completed", {"first_observation": True}, True),
        ("STOPPING", "completed", {}, True),
        ("RUNNING", "failed", {}, False),
        ("RUNNING", "cancelled", {}, False),
        ("RUNNING", "stopping", {"start_time": None}, False),
        ("RUNNING", "stopping", {}, True),
        ("STARTING", "stopping", {"start_time": None}, True),
        ("FAILED", "failed", {}, True),
        ("FAILED", "completed", {}, False),
        ("COMPLETED", "failed", {}, False),
        ("DELETED", "deleted", {}, True),
        ("COMPLETED", "deleted", {}, False),
    ],
)
def test_until_is_reached_when_told_or_passed_on_the_way_to_completed(
    until: str, kind: str, fields: dict[str, object], reached: bool
) -> None:
    assert passed(until, sample_event(kind, **fields)) is reached  # type: ignore[arg-type]  # fields of data


def test_runs_that_have_not_ended_count_as_what_ended_the_watch() -> None:
    runs = [Followed("1234567"), Followed("99")]
    runs[0].take(sample_event("failed"))
    assert exit_code(runs, otherwise=ExitCode.TIMED_OUT) is ExitCode.TIMED_OUT
    assert exit_code(runs[:1], otherwise=ExitCode.TIMED_OUT) is ExitCode.FAILED
    assert summary(runs) == "1 FAILED, 1 not seen"
