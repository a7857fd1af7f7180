"""Threads of Slack: which event belongs to which, and that a restart goes on with those that were begun."""

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from poller.core.events import Event
from poller.core.samples import sample_event
from poller.sinks.slack_threads import MOST_THREADS, Threads, thread_of

WORDS = "Batch 7123456 of 123456789012, us-east-1"


def test_the_runs_of_a_batch_and_the_batch_itself_are_one_thread() -> None:
    run = sample_event("failed", batch_id="7123456")
    assert thread_of(run, "batch_id") == thread_of(sample_event("batch.processed"), "batch_id") == WORDS
    assert thread_of(sample_event("failed"), "batch_id") is None
    assert thread_of(sample_event("blind"), "batch_id") is None
    batch = sample_event("batch.processed")
    ended = json.loads(sample_event("cohort.finished", batch_id="7123456").body) | {"source": batch.source}
    assert thread_of(Event(json.dumps(ended).encode()), "batch_id") == WORDS
    assert thread_of(sample_event("cohort.finished"), "batch_id") is None


def test_the_runs_of_a_cohort_and_its_end_are_one_thread_wherever_they_are() -> None:
    run = sample_event("failed", cohorts=["plate-7", "nightly"], batch_id="7123456", region="eu-west-1")
    assert thread_of(run, "cohort") == thread_of(sample_event("cohort.finished", cohort="plate-7"), "cohort")
    assert thread_of(run, "cohort") == "Cohort plate-7", "the first of the configuration"
    assert thread_of(run.without(["tags", "name"]), "cohort") == "Cohort plate-7"
    assert thread_of(run, "batch_id") == WORDS


def test_by_cohort_a_batch_is_a_thread_too_and_other_runs_have_none() -> None:
    batch = sample_event("batch.processed")
    ended = json.loads(sample_event("cohort.finished", cohort="7123456", batch_id="7123456").body)
    for event in (
        sample_event("failed", batch_id="7123456"),
        batch,
        Event(json.dumps(ended | {"source": batch.source}).encode()),
    ):
        assert thread_of(event, "cohort") == WORDS
    forgotten = sample_event("failed", cohorts=None)
    assert [thread_of(one, "cohort") for one in (sample_event("failed"), forgotten, sample_event("blind"))] == [
        None
    ] * 3


def test_before_the_account_is_known_the_region_tells_batches_apart() -> None:
    run = json.loads(sample_event("failed", batch_id="7123456").body) | {"source": "urn:healthomics:us-east-1:run/1"}
    assert thread_of(Event(json.dumps(run).encode()), "batch_id") == "Batch 7123456 of us-east-1"


def test_threads_by_something_else() -> None:
    run = sample_event("failed")
    place = " of 123456789012, us-east-1"
    assert thread_of(run, "run_group_id") == "Run group 2345678" + place
    assert thread_of(run, "workflow_id") == "Workflow 7654321" + place
    assert thread_of(run, "run_id") == "Run 1234567" + place
    assert thread_of(run, "tags.project") == "project example" + place
    assert thread_of(run, "tags.other") is None
    assert thread_of(run.without(["tags"]), "tags.project") is None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.threads.json"


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


async def test_a_restart_goes_on_with_the_threads_that_were_begun(path: Path) -> None:
    before = Threads(path, "C1")
    assert await before.root(WORDS) is None
    await before.begun(WORDS, "1700000000.000100")
    assert await before.root(WORDS) == "1700000000.000100"
    after = Threads(path, "C1")
    assert await after.root(WORDS) == "1700000000.000100"
    assert await Threads(path, "C2").root(WORDS) is None, "another channel has no such message"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


async def test_two_sinks_of_one_name_lose_none_of_each_others_threads(path: Path) -> None:
    """At a reload the sink of before ends what it sends while the new one begins."""
    one, other = Threads(path, "C1"), Threads(path, "C1")
    assert await one.root("a") is None
    assert await other.root("b") is None
    await one.begun("a", "1")
    await other.begun("b", "2")
    later = Threads(path, "C1")
    assert (await later.root("a"), await later.root("b")) == ("1", "2")


async def test_the_file_does_not_grow_for_ever(path: Path) -> None:
    write(path, json.dumps({f"C1: {number}": str(number) for number in range(MOST_THREADS)}).encode())
    threads = Threads(path, "C1")
    await threads.begun("new", "1.1")
    kept = read(path)
    assert len(kept) == MOST_THREADS
    assert "C1: new" in kept
    assert "C1: 0" not in kept


async def test_of_very_many_threads_those_that_began_last_are_kept_also_one_that_began_anew(path: Path) -> None:
    threads = Threads(path, "C1")
    for number in range(MOST_THREADS):
        await threads.begun(str(number), "1")
    await threads.begun("0", "2")
    await threads.begun("new", "1")
    assert [await threads.root(words) for words in ("0", "1", "new")] == ["2", None, "1"]
    assert len(read(path)) == MOST_THREADS
    assert await Threads(path, "C1").root("0") == "2"


async def test_a_root_that_is_gone_is_forgotten(path: Path) -> None:
    threads = Threads(path, "C1")
    await threads.begun(WORDS, "1")
    threads.forget(WORDS, "0")
    assert await threads.root(WORDS) == "1", "another one has taken its place already"
    threads.forget(WORDS, "1")
    assert await threads.root(WORDS) is None
    await threads.begun(WORDS, "2")
    assert await Threads(path, "C1").root(WORDS) == "2"


@pytest.mark.parametrize("content", ["", "{", "[1]", "\xff"])
async def test_a_file_that_is_damaged_costs_threads_and_nothing_else(
    content: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(path, content.encode("latin-1"))
    threads = Threads(path, "C1")
    assert await threads.root(WORDS) is None
    await threads.begun(WORDS, "1")
    assert await Threads(path, "C1").root(WORDS) == "1"
    assert content == "[1]" or "slack.threads_unreadable" in caplog.text


async def test_a_file_that_cannot_be_written_is_said_and_the_thread_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    threads = Threads(tmp_path / "no such directory" / "threads.json", "C1")
    with caplog.at_level(logging.WARNING):
        await threads.begun(WORDS, "1")
    assert "slack.threads_unwritable" in caplog.text
    assert await threads.root(WORDS) == "1"
