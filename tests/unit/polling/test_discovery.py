"""Which runs of a list are ours, and how far the memory of discovery reaches."""

from datetime import datetime, timedelta

import pytest

from poller.core.lists import ListName
from poller.core.runs import Snapshot
from poller.polling.discovery import Discovery
from poller.polling.rules import Rule, Rules
from poller.ports.service import Page
from tests.unit.polling.simulation import START


def item(created: datetime, status: str = "COMPLETED") -> Snapshot:
    return Snapshot("1", status, False, START, START, creation_time=created)


def page(*, asked: float, answered: float, served_at: datetime) -> Page:
    """A first page, asked and answered so many seconds after the start."""
    asked_at, answered_at = (START + timedelta(seconds=seconds) for seconds in (asked, answered))
    return Page((), None, asked_at, answered_at, served_at)


@pytest.mark.parametrize("ahead", [-300, -1.5, 0, 0.4, 90], ids=lambda seconds: f"{seconds} s")
def test_the_first_answer_sets_the_mark_by_the_clock_of_the_service(ahead: float) -> None:
    """However far the clocks are apart, what is created after the start is told and what is older is not."""
    started_there = START + timedelta(seconds=ahead)
    served = started_there + timedelta(seconds=2.9)
    discovery = Discovery(Rules([Rule(discover=True)]), START, by_our_clock=True)
    first_page = page(asked=2.8, answered=3, served_at=served.replace(microsecond=0))
    assert discovery.began(ListName("PENDING"), first_page)
    assert discovery.adopt(item(started_there + timedelta(milliseconds=1)), ListName("COMPLETED")) is not None
    assert discovery.adopt(item(started_there - timedelta(seconds=1.2)), ListName("COMPLETED")) is None


def test_a_mark_that_is_on_record_is_not_moved_by_the_first_answer_after_a_restart() -> None:
    discovery = Discovery(Rules([Rule(discover=True)]), START)
    assert not discovery.began(ListName("PENDING"), page(asked=0, answered=50, served_at=START))
    assert discovery.discovered_through == START
