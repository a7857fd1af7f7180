"""Sample events are real events."""

from datetime import timedelta

import pytest

from poller.core.event_data import CloudEvent
from poller.core.events import short_type
from poller.testing.samples import SAMPLE_TIME, SAMPLE_TYPES, sample_event


@pytest.mark.parametrize("event_type", SAMPLE_TYPES)
def test_there_is_a_sample_of_every_type_and_it_is_valid(event_type: str) -> None:
    event = sample_event(event_type)
    assert event.type == event_type
    assert sample_event(short_type(event_type)).body == event.body
    CloudEvent.model_validate_json(event.body)
    assert event.position == 0


def test_a_sample_is_the_end_of_a_whole_life() -> None:
    event = sample_event("failed")
    assert (event.sequence, event.time, event.terminal) == (4, SAMPLE_TIME, True)
    assert event.data["previous_status"] == "RUNNING"
    assert event.data["skipped_statuses"] == ["STOPPING"]
    assert event.data["failure_reason"] == "RUN_TASK_FAILED"
    assert event.data["duration_seconds"] == 5400
    unknown = [name for name, value in event.data.items() if value is None]
    assert unknown == ["batch_id"]


@pytest.mark.parametrize("kind", ["sink_failing", "sink_recovered"])
def test_the_outage_of_a_sink_is_not_that_of_an_account(kind: str) -> None:
    data = sample_event(kind).data
    assert (data["subject"], data["cause"]) == ("sample", None)
    assert (data["duration_seconds"] is not None) == (kind == "sink_recovered")


def test_other_runs_and_times_are_other_events() -> None:
    later = SAMPLE_TIME + timedelta(days=1)
    samples = [sample_event(), sample_event(run_id="2"), sample_event(at=later), sample_event("completed")]
    assert len({event.id for event in samples}) == len(samples)


def test_fields_can_be_chosen() -> None:
    event = sample_event("failed", run_id="42", name="é", tags=None)
    assert (event.run_id, event.subject, event.data["name"], event.data["tags"]) == ("42", "42", "é", None)
    assert sample_event("blind", cause="denied").data["cause"] == "denied"


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match='there is no event "faild"; there are pending, '):
        sample_event("faild")
    with pytest.raises(TypeError, match="nam: no field of RunData"):
        sample_event("failed", nam="x")
    with pytest.raises(TypeError, match="run_uuid: no field of PollerData"):
        sample_event("blind", run_uuid="x")
