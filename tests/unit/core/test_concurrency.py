"""How many sends at once: what is learned of acknowledgements, of too much, and of outages."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from poller.core.concurrency import Concurrency, acknowledged, broken, crowded, open_wide

AT = datetime(2026, 11, 23, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def after(concurrency: Concurrency, sends: int) -> Concurrency:
    """So many sends went well."""
    for _ in range(sends):
        concurrency = acknowledged(concurrency)
    return concurrency


def test_it_starts_at_what_is_configured() -> None:
    assert open_wide(16).allowed == 16


def test_too_much_halves_it_once_for_all_sends_that_were_under_way() -> None:
    cut = crowded(open_wide(16), AT, AT - SECOND)
    assert cut.allowed == 8
    assert crowded(cut, AT + SECOND, AT - SECOND).allowed == 8
    assert crowded(cut, AT + SECOND, AT + SECOND / 2).allowed == 4


def test_it_grows_by_one_for_each_round_of_acknowledgements() -> None:
    cut = crowded(open_wide(16), AT, AT)
    assert after(cut, 7).allowed == 8
    assert after(cut, 9).allowed == 9
    assert after(cut, 1000).allowed == 16


def test_after_an_outage_one_send_at_first_and_one_more_for_each_that_goes_well() -> None:
    back = broken(open_wide(16))
    assert [after(back, sends).allowed for sends in (0, 1, 2, 7)] == [1, 2, 3, 8]
    assert after(back, 8).allowed == 8  # from half of what was, by one for each round


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.sampled_from(["well", "crowded", "outage"]), st.floats(0, 100)), max_size=200),
)
def test_whatever_happens_it_stays_between_one_and_what_is_configured(
    ceiling: int, story: list[tuple[str, float]]
) -> None:
    concurrency, now = open_wide(ceiling), AT
    for what, seconds in story:
        now += timedelta(seconds=seconds)
        match what:
            case "well":
                concurrency = acknowledged(concurrency)
            case "crowded":
                concurrency = crowded(concurrency, now, now)
            case _:
                concurrency = broken(concurrency)
        assert 1 <= concurrency.allowed <= ceiling
