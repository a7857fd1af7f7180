"""A run comes back from its text exactly as it went in, whatever version wrote it."""

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_type_hints

from hypothesis import given
from hypothesis import strategies as st

from poller.core.runs import Evidence, KnownRun
from poller.store.remembered import decode_run, encode_run
from poller.testing.stores.samples import AT, sample_run

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))  # a lone surrogate is no text in UTF-8
MOMENTS = st.datetimes(timezones=st.just(UTC))
EVIDENCE = st.builds(Evidence, TEXTS, MOMENTS, MOMENTS, start_time=st.none() | MOMENTS, stop_time=st.none() | MOMENTS)
BY_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    str | None: st.none() | TEXTS,
    datetime | None: st.none() | MOMENTS,
    Evidence | None: st.none() | EVIDENCE,
    tuple[str, ...]: st.lists(TEXTS).map(tuple),
    tuple[Evidence, ...]: st.lists(EVIDENCE, max_size=3).map(tuple),
}
# Each field by its own type, so that a new field is covered the day it is added.
RUNS = st.builds(
    KnownRun,
    **{
        name: BY_TYPE[kind] if kind in BY_TYPE else st.from_type(kind)
        for name, kind in get_type_hints(KnownRun).items()
    },
)


@given(RUNS)
def test_a_run_comes_back_as_it_went_in(run: KnownRun) -> None:
    again = decode_run(encode_run(run))
    assert again == run
    assert [type(getattr(again, one.name)) for one in fields(run)] == [
        type(getattr(run, one.name)) for one in fields(run)
    ]


def test_keys_from_a_newer_version_are_ignored_at_every_depth() -> None:
    values = json.loads(encode_run(sample_run()))
    values["mood"] = {"of": "the run"}
    values["evidence"][0]["weather"] = "rain"
    assert decode_run(json.dumps(values)) == sample_run()


def test_a_field_that_an_older_version_did_not_write_has_its_default() -> None:
    assert decode_run('{"run_id":"7","status":"RUNNING"}') == KnownRun("7", status="RUNNING")


def test_times_keep_their_microseconds() -> None:
    assert decode_run(encode_run(KnownRun("7", since=AT))).since == AT
    assert AT.microsecond == 123456


def test_a_hundred_thousand_runs_share_one_time_zone() -> None:
    again = decode_run(encode_run(KnownRun("7", creation_time=AT, since=AT, seen_at=AT)))
    times = (again.creation_time, again.since, again.seen_at)
    assert all(at is not None and at.tzinfo is UTC for at in times)
