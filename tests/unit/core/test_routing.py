"""Which sink is owed which event."""

import pytest

from poller.core.events import POLLER_TYPES, RUN_TYPES
from poller.core.routing import Route, owed_to, unmatched

ALL = [*RUN_TYPES, *POLLER_TYPES, "healthomics.batch.failed", "healthomics.cohort.finished",
       "healthomics.poller.sink_failing", "healthomics.poller.sink_recovered"]  # fmt: skip


def test_without_a_filter_a_sink_gets_all_but_heartbeat() -> None:
    assert [name for name in ALL if not Route("a").takes(name, {})] == ["healthomics.poller.heartbeat"]


@pytest.mark.parametrize(
    ("pattern", "event_type", "taken"),
    [
        ("failed", "healthomics.run.failed", True),
        ("failed", "healthomics.batch.failed", False),
        ("batch.failed", "healthomics.batch.failed", True),
        ("batch.*", "healthomics.batch.failed", True),
        ("*failed", "healthomics.batch.failed", True),
        ("sink_*", "healthomics.poller.sink_failing", True),
        ("blind", "healthomics.poller.blind", True),
        ("Failed", "healthomics.run.failed", False),
        ("heartbeat", "healthomics.poller.heartbeat", True),
        ("*", "healthomics.poller.heartbeat", False),
        ("heart*", "healthomics.poller.heartbeat", False),
        ("*", "healthomics.run.unknown_status", True),
    ],
)
def test_a_filter_names_types_or_globs_and_heartbeat_must_be_named(pattern: str, event_type: str, taken: bool) -> None:
    assert Route("a", (pattern,)).takes(event_type, {}) is taken


def test_sinks_are_owed_in_the_order_of_the_configuration() -> None:
    routes = [Route("z"), Route("a", ("failed",)), Route("m", ("completed",)), Route("b", ("fail*", "blind"))]
    assert owed_to(routes, "healthomics.run.failed", {}) == ["z", "a", "b"]
    assert owed_to([], "healthomics.run.failed", {}) == []


def test_a_misspelt_filter_is_found() -> None:
    assert unmatched(["failed", "faild", "comp*", "healthomics.run.failed", "*"]) == ["faild", "healthomics.run.failed"]
