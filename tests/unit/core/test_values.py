"""The types that settings share."""

from datetime import timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from poller.core.event_data import RunData
from poller.core.values import Duration, OmittableField, SinkSettings, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800), (" 1.5 h ", 5400), ("90", 90),
     (10, 10), (0.5, 0.5), (0, 0), ("0s", 0), (timedelta(minutes=1), 60)],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(text: Any, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5 parsecs", "-5s", -1, "1h30m", "5M", True, None, [], float("nan"), float("inf"), "1e9d", "99999d"]
)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 100 * 365 * 86400 * 1000))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(("seconds", "text"), [(300, "5m"), (90, "90s"), (0, "0s"), (0.25, "250ms"), (172800, "2d")])
def test_the_shortest_text_is_written(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


def test_a_model_with_a_duration_round_trips() -> None:
    class Table(BaseModel):
        wait: Duration

    assert Table.model_validate({"wait": "5m"}).model_dump_json() == '{"wait":"5m"}'
    assert "anyOf" in Table.model_json_schema()["properties"]["wait"]


def test_every_omittable_field_is_a_field_of_the_event_that_may_be_null() -> None:
    for name in get_args(OmittableField):
        assert type(None) in get_args(RunData.model_fields[name].annotation), name


def test_a_sinks_settings_refuse_unknown_keys_and_odd_names() -> None:
    good: dict[str, Any] = {"name": "lims", "type": "webhook"}
    bad: dict[str, Any]
    settings = SinkSettings.model_validate(good)
    assert (settings.events, settings.max_attempts, settings.max_age) == (None, 12, timedelta(days=7))
    for bad in ({"nme": "x"}, {"name": ""}, {"name": "a b"}, {"events": []}, {"omit": ["run_id"]}, {"max_attempts": 0}):
        with pytest.raises(ValidationError):
            SinkSettings.model_validate(good | bad)
