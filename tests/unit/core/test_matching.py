"""What a `match` takes: which runs, and why not the others."""

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from poller.core.events import EVENT_TYPES, POLLER_TYPES
from poller.core.matching import Match
from poller.core.routing import Route, owed_to
from poller.core.samples import sample_event
from poller.core.values import SinkSettings

FAILED = sample_event(
    "failed",
    name="lab-7",
    tags={"project": "x", "owner": "ana"},
    workflow_id="4074992",
    workflow_name="rnaseq",
    run_group_id="9938959",
    batch_id="7123456",
    cohorts=["plate-7", "nightly"],
)


def match(**keys: Any) -> Match:
    return Match.model_validate(keys)


def takes(event: Any, *tables: Match, events: tuple[str, ...] | None = None) -> bool:
    return Route("a", events, match=tables).takes(event.type, event.data)


@pytest.mark.parametrize(
    ("keys", "fits"),
    [
        ({"name": "lab-7"}, True),
        ({"name": "lab-*"}, True),
        ({"name": "lab-?"}, True),
        ({"name": "lab-[0-9]"}, True),
        ({"name": "lab"}, False),
        ({"name": "LAB-7"}, False),
        ({"name": ["clinic-*", "lab-*"]}, True),
        ({"tags": {"project": "x"}}, True),
        ({"tags": {"project": ["y", "x"]}}, True),
        ({"tags": {"project": "*"}}, True),
        ({"tags": {"project": "x", "owner": "ana"}}, True),
        ({"tags": {"project": "x", "owner": "ben"}}, False),
        ({"tags": {"Project": "x"}}, False),
        ({"tags": {"stage": "*"}}, False),
        ({"workflow": "4074992"}, True),
        ({"workflow": "rna*"}, True),
        ({"workflow": "dna*"}, False),
        ({"group": "9938959"}, True),
        ({"group": "9938958"}, False),
        ({"batch": "7123456"}, True),
        ({"cohort": "nightly"}, True),
        ({"cohort": ["plate-8", "plate-*"]}, True),
        ({"cohort": "plate"}, False),
        ({"status": "FAILED"}, True),
        ({"status": "failed"}, True),
        ({"status": ["COMPLETED", "CANCELLED"]}, False),
        ({"failure_reason": "run_task_*"}, True),
        ({"failure_reason": "SERVICE_ERROR"}, False),
        ({"account": "123456789012", "region": "us-*"}, True),
        ({"region": "eu-*"}, False),
        ({"name": "lab-*", "tags": {"project": "y"}}, False),
    ],
)
def test_all_keys_of_a_match_must_fit_and_one_value_of_each(keys: dict[str, Any], fits: bool) -> None:
    assert takes(FAILED, match(**keys)) is fits


def test_of_several_matches_one_is_enough() -> None:
    assert takes(FAILED, match(name="clinic-*"), match(tags={"project": "x"}))
    assert not takes(FAILED, match(name="clinic-*"), match(tags={"project": "y"}))


def test_a_match_narrows_what_events_take_and_widens_nothing() -> None:
    assert not takes(FAILED, match(name="lab-*"), events=("completed",))
    assert takes(FAILED, match(name="lab-*"), events=("failed",))


def test_what_is_not_known_does_not_fit() -> None:
    unread = sample_event("unreachable", name=None, tags=None, workflow_id=None, workflow_name=None)
    for keys in ({"name": "*"}, {"tags": {"project": "*"}}, {"workflow": "*"}, {"status": "*"}, {"cohort": "*"}):
        assert not takes(unread, match(**keys))
    assert takes(unread, match(region="us-east-1"))


@pytest.mark.parametrize("event_type", POLLER_TYPES)
def test_what_the_poller_says_of_itself_is_decided_by_events_alone(event_type: str) -> None:
    """A daemon that has gone blind must not be silent because of a filter that is about runs."""
    event = sample_event(event_type)
    assert takes(event, match(name="nothing"), events=("*", "heartbeat"))


def test_a_sink_is_not_told_of_its_own_outage() -> None:
    event = sample_event("sink_failing", subject="topic")
    routes = [Route("lims"), Route("topic")]
    assert owed_to(routes, event.type, event.data) == ["lims"]
    assert routes[1].why_not(event.type, event.data) == "a sink is not told of its own outage"


def test_batches_and_cohorts_are_matched_by_what_they_have() -> None:
    batch, cohort = sample_event("batch.processed"), sample_event("cohort.finished", cohort="night-1")
    assert takes(batch, match(batch="7123456", tags={"project": "example"}, status="PROCESSED"))
    assert not takes(batch, match(workflow="*"))
    assert not takes(batch, match(cohort="*"))
    assert takes(cohort, match(name="night-*"))
    assert takes(cohort, match(cohort="night-1"))
    assert not takes(cohort, match(tags={"project": "*"}))


def test_it_says_why_not() -> None:
    why_not = Route("a", match=(match(name="clinic-*", tags={"project": ["y", "z"], "stage": "*"}),)).why_not
    assert why_not(FAILED.type, FAILED.data) == (
        'match: name is "lab-7", not "clinic-*", and tags.project is "x", none of "y", "z", '
        'and tags.stage is not known, not "*"'
    )
    of_cohorts = Route("a", match=(match(cohort="plate-8"),))
    said = 'match: cohort is "plate-7", "nightly", not "plate-8"'
    assert of_cohorts.why_not(FAILED.type, FAILED.data) == said
    several = Route("a", match=(match(workflow="dna"), match(group="1")))
    assert several.why_not(FAILED.type, FAILED.data) == (
        'none of its 2 match fits: workflow is "4074992", "rnaseq", not "dna"; or group is "9938959", not "1"'
    )
    assert Route("a", ("completed", "blind")).why_not(FAILED.type, {}) == "events (completed, blind) do not take failed"
    assert Route("a").why_not("healthomics.poller.heartbeat", {}) == "heartbeat must be named in events"
    assert Route("a", ("*",)).why_not("healthomics.poller.heartbeat", {}) == "events (*) must name heartbeat"


@pytest.mark.parametrize(
    "keys", [{}, {"name": []}, {"name": 7}, {"name": ["a", 7]}, {"tags": {"a": []}}, {"tags": "a"}, {"nam": "a"}]
)
def test_a_match_that_asks_for_nothing_or_nonsense_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        match(**keys)


def test_a_sink_takes_one_table_or_several() -> None:
    one = SinkSettings.model_validate({"name": "a", "type": "x", "match": {"name": "b"}})
    assert one.match == (match(name="b"),)
    several = SinkSettings.model_validate({"name": "a", "type": "x", "match": [{"name": "b"}, {"group": ["1", "2"]}]})
    assert Route.of(several).match == (match(name="b"), match(group=["1", "2"]))
    wrong: Any
    for wrong in ([], "lab-*", [{}]):
        with pytest.raises(ValidationError):
            SinkSettings.model_validate({"name": "a", "type": "x", "match": wrong})


# properties

WORDS = st.text(alphabet="ab-*?[]!7", max_size=6)
GLOBS = st.one_of(WORDS, st.lists(WORDS, min_size=1, max_size=3))
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "name": GLOBS,
        "tags": st.dictionaries(st.sampled_from(["p", "q"]), GLOBS, min_size=1),
        "workflow": GLOBS,
        "group": GLOBS,
        "cohort": GLOBS,
        "region": GLOBS,
    },
).filter(bool)
DATA = st.fixed_dictionaries(
    {
        "name": st.none() | WORDS,
        "tags": st.none() | st.dictionaries(st.sampled_from(["p", "q", "r"]), WORDS),
        "workflow_id": st.none() | WORDS,
        "workflow_name": st.none() | WORDS,
        "run_group_id": st.none() | WORDS,
        "region": WORDS,
    },
    optional={"cohorts": st.none() | st.lists(WORDS, max_size=3)},
)


def fits_by_the_words_of_the_docs(table: dict[str, Any], data: dict[str, Any]) -> bool:
    """All keys must hold; of each, one value; a value is a glob; what is not known holds nothing."""
    tags = data["tags"] or {}
    said = {
        "name": [data["name"]],
        "workflow": [data["workflow_id"], data["workflow_name"]],
        "group": [data["run_group_id"]],
        "cohort": data.get("cohorts") or [],
        "region": [data["region"]],
    }
    asked = [(said[key], value) for key, value in table.items() if key != "tags"]
    asked += [([tags.get(tag)], value) for tag, value in table.get("tags", {}).items()]
    return all(
        any(
            found is not None and fnmatchcase(found, glob)
            for found in known
            for glob in ([value] if isinstance(value, str) else value)
        )
        for known, value in asked
    )


@given(st.lists(TABLES, min_size=1, max_size=3), DATA)
def test_any_match_agrees_with_its_description(tables: list[dict[str, Any]], data: dict[str, Any]) -> None:
    route = Route("a", match=tuple(match(**table) for table in tables))
    fits = any(fits_by_the_words_of_the_docs(table, data) for table in tables)
    why_not = route.why_not("healthomics.run.failed", data)
    assert (why_not is None) is fits
    assert route.takes("healthomics.run.failed", data) is fits


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from(["FAILED", "RUNNING", "PROCESSED", "*ED", "PAUSED"]),
            "failure_reason": st.sampled_from(["RUN_TASK_FAILED", "*"]),
            "workflow": st.just("*"),
            "group": st.just("*"),
            "cohort": st.just("*"),
            "name": st.just("*"),
            "tags": st.just({"project": "*"}),
        },
    ).filter(bool),
    st.sampled_from(EVENT_TYPES),
)
def test_what_is_said_never_to_fit_never_does(table: dict[str, Any], event_type: str) -> None:
    """`never` is about the type alone: no event of the type may fit where it gives a reason."""
    event = sample_event(event_type)
    said = match(**table).never(event_type)
    if said is not None and event_type not in POLLER_TYPES:
        assert match(**table).why_not(event.data) is not None
        assert re.match(r"(such events|their status)", said)
