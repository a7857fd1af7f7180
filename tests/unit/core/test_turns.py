"""Whose run is asked about next: the watches take turns, and within one nothing urgent waits and nothing starves."""

from collections import Counter
from datetime import timedelta

from poller.core.claims import Claim, Claims
from poller.core.turns import Turns

LAB, CLINIC, BOTH = 1, 2, 3
URGENT, LATER = 1, 3


def stands(_serial: int, _run_id: str) -> bool:
    return True


def taken(turns: Turns, most: int = 1000) -> list[str]:
    found: list[str] = []
    while len(found) < most and (run_id := turns.take()) is not None:
        found.append(run_id)
    return found


def test_ten_runs_of_one_watch_wait_for_one_call_each_beside_ten_thousand_of_another() -> None:
    turns = Turns(stands)
    for number in range(10_000):
        turns.add(LAB, URGENT, (0.0, number, f"lab-{number}"))
    assert len(taken(turns, 50)) == 50
    for number in range(10):
        turns.add(CLINIC, LATER, (100.0, number, f"clinic-{number}"))
    order = taken(turns, 20)
    assert [run_id.partition("-")[0] for run_id in order] == ["clinic", "lab"] * 10
    assert len(taken(turns, 20_000)) == 10_000 - 60


def test_queues_take_turns_whoever_has_waited_and_an_empty_one_is_passed_over() -> None:
    turns = Turns(stands)
    for watches in (LAB, CLINIC, BOTH):
        for number in range(watches * 2):
            turns.add(watches, LATER, (float(number), number, f"{watches}"))
    assert "".join(taken(turns)) == "123" * 2 + "23" * 2 + "33"


def test_in_one_queue_the_most_urgent_goes_first_and_every_fifth_is_the_one_due_longest() -> None:
    turns = Turns(stands)
    turns.add(LAB, LATER, (0.0, 0, "old"))
    for number in range(1, 9):
        turns.add(LAB, URGENT, (float(number), number, "new"))
    assert taken(turns) == ["new"] * 4 + ["old"] + ["new"] * 4


def test_what_stands_no_more_is_never_taken() -> None:
    gone = {1, 2, 4}
    turns = Turns(lambda serial, _: serial not in gone)
    for serial in range(1, 6):
        turns.add(serial % 2, LATER, (0.0, serial, str(serial)))
    assert Counter(taken(turns)) == Counter(("3", "5"))
    assert not turns


def test_a_run_is_under_the_common_claim_unless_another_one_is_noted() -> None:
    second = timedelta(seconds=1)
    common, quick = Claim(0, 5 * second, 60 * second), Claim(LAB, second, 10 * second)
    claims = Claims(common)
    claims.note("1", quick)
    claims.note("2", quick)
    claims.note("2", common)
    assert (claims.of("1"), claims.of("2"), "2" in claims) == (quick, common, False)
    claims.drop("1")
    claims.drop("3")
    assert claims.of("1") is common
