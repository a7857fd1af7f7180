"""What the planner asks next, told what was seen and what moment it is."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from poller.core.claims import Claim, Claims
from poller.core.lists import ENDED_LISTS, WHOLE, ListName, Part
from poller.core.planner import GetRunLook, ListLook, Planner
from poller.core.runs import KnownRun, Question
from poller.core.statuses import ACTIVE


def known(run_id: str, status: str | None = "RUNNING", question: Question | None = None) -> KnownRun:
    return KnownRun(run_id, by_rule=True, uuid=f"uuid-{run_id}", status=status, looked=True, question=question)


def planner_of(*statuses: str, low: float = 5, high: float = 60, due: float = 0) -> Planner:
    """A planner that follows runs "0", "1", … in these statuses, all due at the same moment."""
    planner = Planner(low=low, high=high)
    for number, status in enumerate(statuses):
        planner.follow(known(str(number), status), due)
    return planner


def read(planner: Planner, now: float, *, shows: dict[str, list[str]], pages: int = 1) -> list[str]:
    """Read every page that is due at `now`; which statuses' lists were read. `shows` are the runs of each list."""
    names = []
    while (look := planner.next_list(now)) is not None:
        status = look.name.status
        names.append(status or "newest")
        items = shows.get(status or "newest", [])
        for run_id in items:
            planner.shown(run_id, now)
        if status is None:
            planner.newest_read(look, items, now, in_order=False, complete=False)
            continue
        planner.page_read(look, items, str(look.page + 1) if look.page + 1 < pages else None, now)
        for run_id in items:
            planner.follow(known(run_id, status), now + 60, shown=now)
    return names


def get_runs(planner: Planner, now: float) -> list[GetRunLook]:
    looks = []
    while (look := planner.next_get_run(now)) is not None:
        looks.append(look)
    return looks


# --- direct looks, or a list ------------------------------------------------------------------------------------------


def test_a_single_run_is_asked_about_directly() -> None:
    planner = planner_of("RUNNING")
    assert [look.run_id for look in get_runs(planner, 0)] == ["0"]
    assert planner.next_list(0) is None


def test_two_runs_of_one_status_cost_one_page_and_no_get_run() -> None:
    planner = planner_of("RUNNING", "RUNNING")
    assert get_runs(planner, 0) == []
    assert "RUNNING" in read(planner, 0, shows={"RUNNING": ["0", "1"]})
    assert get_runs(planner, 0) == []
    assert planner.next_due(0) == 60


def test_a_list_that_has_more_pages_than_followed_runs_is_not_read_for_them() -> None:
    """Runs of others make it long: asking about each of the few is cheaper then."""
    planner = planner_of("RUNNING", "RUNNING")
    read(planner, 0, shows={"RUNNING": ["0", "1"]}, pages=3)
    assert planner.next_list(60) is None
    assert len(get_runs(planner, 60)) == 2


def test_nothing_is_asked_before_it_is_due_and_no_list_twice_within_the_least_interval() -> None:
    planner = planner_of("RUNNING", "RUNNING", due=10)
    assert planner.next_list(9.9) is None
    assert planner.next_get_run(9.9) is None
    assert planner.next_due(0) == 10
    assert "RUNNING" in read(planner, 10, shows={"RUNNING": ["0", "1"]})
    planner.follow(known("0"), 11)
    planner.follow(known("1"), 11)
    assert planner.next_list(14.9) is None
    assert planner.next_due(14.9) == 15
    assert read(planner, 15, shows={"RUNNING": ["0", "1"]}) == ["RUNNING"]


def test_one_reader_for_each_list_and_one_get_run_for_each_run() -> None:
    planner = planner_of(*["RUNNING"] * 3)
    planner.follow(known("9", None, Question.FIRST), 0)
    look = planner.next_list(0)
    assert look is not None
    assert planner.next_list(0) is None or planner.next_list(0) != look
    assert [one.run_id for one in get_runs(planner, 0)] == ["9"]
    planner.follow(known("9", None, Question.FIRST), 0)
    assert get_runs(planner, 0) == []
    planner.run_answered("9", 1)
    planner.follow(known("9", None, Question.FIRST), 1)
    assert get_runs(planner, 5.9) == []
    assert len(get_runs(planner, 6)) == 1


# --- the newest runs --------------------------------------------------------------------------------------------------


def newest(planner: Planner, now: float, items: list[str], *, in_order: bool = True, complete: bool = False) -> None:
    """Read all that is due, the newest runs among it; all of it shows these runs."""
    while (look := planner.next_list(now)) is not None:
        for run_id in items:
            planner.shown(run_id, now)
        if look.name.status is None:
            planner.newest_read(look, items, now, in_order=in_order, complete=complete)
        else:
            planner.page_read(look, items, None, now)
        for run_id in items:
            planner.follow(known(run_id), now + 60, shown=now)


def next_of(planner: Planner, status: str, now: float) -> ListLook:
    """The look at that list; the newest runs, if they are due, are read meanwhile and show nothing."""
    while (look := planner.next_list(now)) is not None:
        if look.name.status == status:
            return look
        assert look.name.status is None
        planner.newest_read(look, [], now, in_order=False, complete=False)
    raise AssertionError("it is not due")


def test_a_page_of_the_newest_runs_that_shows_its_order_answers_for_every_run_on_it() -> None:
    planner = planner_of("PENDING", "RUNNING", "STOPPING")
    planner.discover(0)
    newest(planner, 0, ["0", "1", "2"])
    planner.discover(1000)
    assert read_ordered(planner, 60, ["0", "1", "2"]) == ["newest"]
    assert get_runs(planner, 60) == []


def test_a_page_without_order_is_not_trusted_and_the_lists_are_read() -> None:
    planner = planner_of("RUNNING", "RUNNING")
    planner.discover(0)
    newest(planner, 0, ["0", "1"], in_order=False)
    planner.discover(500)
    assert sorted(read(planner, 500, shows={"RUNNING": ["0", "1"]})) == sorted(ACTIVE)


def test_a_run_that_newer_ones_pushed_off_the_page_is_answered_for_by_its_list() -> None:
    planner = planner_of("RUNNING", "RUNNING", "RUNNING")
    planner.discover(0)
    newest(planner, 0, ["0", "1", "2"])
    planner.discover(1000)
    look = planner.next_list(60)
    assert look is not None
    assert look.name.status is None
    planner.newest_read(look, ["0"], 60, in_order=True, complete=False)
    assert read(planner, 60, shows={"RUNNING": ["0", "1", "2"]}) == ["RUNNING"]


def test_who_is_missing_from_a_page_that_shows_all_there_is_is_asked_about() -> None:
    planner = planner_of("RUNNING", "RUNNING")
    planner.discover(0)
    newest(planner, 0, ["0", "1"], complete=True)
    planner.discover(1000)
    look = planner.next_list(60)
    assert look is not None
    planner.newest_read(look, ["0"], 60, in_order=True, complete=True)
    assert [one.run_id for one in get_runs(planner, 60)] == ["1"]


def test_the_lists_are_verified_once_a_minute_while_the_newest_runs_are_trusted() -> None:
    planner = planner_of(*["RUNNING"] * 2, low=1, high=1)
    planner.discover(0)
    newest(planner, 0, ["0", "1"])
    lists: list[tuple[float, str]] = []
    for second in range(1, 200):
        planner.discover(second)
        for name in read_ordered(planner, float(second), ["0", "1"]):
            lists.append((second, name))
    assert {name for _, name in lists} == {"newest", *ACTIVE}
    assert 2 <= sum(name == "PENDING" for _, name in lists) <= 4
    assert sum(name == "newest" for _, name in lists) > 190


def read_ordered(planner: Planner, now: float, items: list[str]) -> list[str]:
    names = []
    while (look := planner.next_list(now)) is not None:
        names.append(look.name.status or "newest")
        if look.name.status is None:
            planner.newest_read(look, items, now, in_order=True, complete=False)
        else:
            planner.page_read(look, items, None, now)
        for run_id in items:
            planner.shown(run_id, now)
            planner.follow(known(run_id), now + 1, shown=now)
    return names


# --- who left a list --------------------------------------------------------------------------------------------------


def test_a_run_that_its_list_misses_is_looked_for_in_the_next_short_list_before_a_get_run_is_spent() -> None:
    planner = planner_of("RUNNING", "RUNNING")
    names = read(planner, 0, shows={"RUNNING": ["0"], "STOPPING": ["1"]})
    assert names.index("RUNNING") < names.index("STOPPING")
    assert get_runs(planner, 0) == []


def test_a_run_that_no_list_shows_is_asked_about_first() -> None:
    planner = planner_of("STOPPING", "STOPPING")
    planner.follow(known("9", None, Question.FIRST), 0)
    read(planner, 0, shows={"STOPPING": ["0"]})
    assert [look.run_id for look in get_runs(planner, 0)] == ["1", "9"]


def test_where_a_long_list_keeps_its_order_a_run_is_missed_before_the_list_is_read_whole() -> None:
    """Each run has its place between two others: once the reading has gone past it, it will not come any more."""
    planner = Planner(low=0.1, high=0.1)
    runs = [str(number * 7919 % 300) for number in range(300)]  # in whatever order
    for run_id in runs:
        planner.follow(known(run_id), 0, shown=-1)

    def page(now: float, number: int, gone: Sequence[str] = ()) -> None:
        look = next_of(planner, "RUNNING", now)
        assert look.page == number
        items = [run_id for run_id in runs[number * 100 : number * 100 + 100] if run_id not in gone]
        for run_id in items:
            planner.shown(run_id, now)
            planner.follow(known(run_id), now + 0.1, shown=now)
        planner.page_read(look, items, None if number == 2 else str(number), now)

    for now in (0, 1):  # once to see the order, once more to see that it stays
        for number in range(3):
            page(now, number)
    page(2, 0, gone=(runs[7], runs[250]))
    while (other := planner.next_list(2.2)) is not None:
        if other.name.status is None:
            planner.newest_read(other, [], 2.2, in_order=False, complete=False)
        elif other.name.status != "RUNNING":  # the rest of that one is still under way
            planner.page_read(other, [], None, 2.2)
    assert [one.run_id for one in get_runs(planner, 2.3)] == [runs[7]]


def test_a_page_that_shows_a_missing_run_after_all_spares_the_get_run() -> None:
    planner = planner_of("RUNNING", "RUNNING", low=0.1, high=0.1)
    look = next_of(planner, "RUNNING", 0)
    planner.shown("0", 0)
    planner.page_read(look, ["0"], None, 0)  # "1" is missing; STOPPING is due now
    planner.follow(known("1", "STOPPING"), 60, shown=0.05)
    assert get_runs(planner, 0.2) == []


def test_a_missing_run_about_which_get_run_failed_is_asked_about_again_and_not_left_to_lists() -> None:
    planner = planner_of("RUNNING", "RUNNING", "RUNNING", low=0.1, high=60)
    read(planner, 0, shows={"RUNNING": ["0", "1"]})  # "2" is missing
    assert read(planner, 0.2, shows={}) == []
    assert [look.run_id for look in get_runs(planner, 0.2)] == ["2"]
    planner.run_failed("2", 1)
    assert get_runs(planner, 0.9) == []
    assert planner.next_due(0.9) == 1
    assert [look.run_id for look in get_runs(planner, 1)] == ["2"]


# --- urgency ----------------------------------------------------------------------------------------------------------


def test_get_runs_go_to_questions_in_their_order() -> None:
    planner = planner_of()
    for run_id, question in [
        ("5", Question.FIRST),
        ("3", Question.NEW),
        ("4", Question.PROOF),
        ("1", Question.IDENTITY),
        ("2", Question.END),
    ]:
        planner.follow(known(run_id, None, question), 0)
    assert [look.run_id for look in get_runs(planner, 0)] == ["1", "2", "3", "4", "5"]


def test_a_run_that_moved_on_goes_before_a_first_look_at_one_that_did_not() -> None:
    planner = planner_of(*["STARTING"] * 8, low=0.1, high=60)
    names = [str(number) for number in range(8)]
    planner.hint(ACTIVE, 0)
    read(planner, 0, shows={"STARTING": names}, pages=3)  # from here on all lists are long
    planner.follow(known("9", None, Question.FIRST), 0)
    look = next_of(planner, "STARTING", 60)
    for run_id in names[:-1]:
        planner.shown(run_id, 60)
        planner.follow(known(run_id, "STARTING"), 120, shown=60)
    planner.page_read(look, names[:-1], None, 60)
    assert [one.run_id for one in get_runs(planner, 61)] == ["7", "9"]


def test_a_burst_of_ends_is_told_oldest_first_and_starves_nobody() -> None:
    planner = planner_of()
    for number in range(100):
        planner.follow(known(str(number), question=Question.END), -float(number))
    planner.follow(known("first", None, Question.FIRST), -1000)
    order = [look.run_id for look in get_runs(planner, 0)]
    assert order.index("first") < 5
    assert [run_id for run_id in order if run_id != "first"] == [str(number) for number in reversed(range(100))]


def test_short_lists_are_read_between_the_pages_of_a_long_one() -> None:
    planner = planner_of(*["RUNNING"] * 4000, *["STARTING"] * 4, *["STOPPING"] * 4, low=0.1, high=0.1)
    pages = {"RUNNING": 40}
    order: list[str] = []
    for step in range(400):
        now = step / 9
        look = planner.next_list(now)
        if look is None:
            continue
        status = look.name.status or "newest"
        order.append(status)
        if status == "newest":
            planner.newest_read(look, [], now, in_order=False, complete=False)
            continue
        planner.page_read(look, [], str(look.page) if look.page + 1 < pages.get(status, 1) else None, now)
        for number in {"STARTING": range(4000, 4004), "STOPPING": range(4004, 4008)}.get(status, ()):
            planner.follow(known(str(number), status), now + 0.1, shown=now)
        if status == "RUNNING":
            for number in range(look.page * 100, look.page * 100 + 100):
                planner.follow(known(str(number)), now + 0.1, shown=now)
    settled = order[100:]
    assert 0.4 < settled.count("RUNNING") / len(settled) < 0.8
    for status in ("STARTING", "STOPPING"):
        places = [place for place, name in enumerate(settled) if name == status]
        assert max(later - earlier for earlier, later in pairwise(places)) <= 8


def test_ended_lists_are_read_when_they_are_due() -> None:
    planner = planner_of()
    planner.read_ended(100)
    assert planner.next_due(0) == 100
    assert read(planner, 100, shows={}) == list(ENDED_LISTS)


# --- lists that fail --------------------------------------------------------------------------------------------------


def test_runs_are_not_left_to_a_list_that_does_not_answer() -> None:
    planner = planner_of("RUNNING", "RUNNING")
    for attempt in range(3):
        look = planner.next_list(attempt * 10)
        while look is not None and look.name.status != "RUNNING":
            planner.newest_read(look, [], attempt * 10, in_order=False, complete=False)
            look = planner.next_list(attempt * 10)
        assert look is not None
        planner.page_failed(look, attempt * 10 + 1)
    assert len(get_runs(planner, 30)) == 2


def test_an_expired_token_begins_its_list_again_and_loses_nothing() -> None:
    planner = planner_of("RUNNING", "RUNNING")
    first = next_of(planner, "RUNNING", 0)
    planner.page_read(first, ["0", "1"], "token", 0)
    second = planner.next_list(0)
    assert second is not None
    assert second.token == "token"
    planner.page_failed(second, 1, start_over=True)
    assert not planner.still_reading(second)
    again = planner.next_list(6)
    assert again is not None
    assert (again.name, again.token, again.page) == (first.name, None, 0)


def test_whether_lists_may_be_read_one_page_tells() -> None:
    planner = planner_of(*["RUNNING"] * 3, *["STOPPING"] * 3)
    planner.discover(0)
    assert planner.next_list(0) is not None
    assert planner.next_list(0) is None
    planner.lists_denied()
    assert planner.next_list(100) is None
    assert len(get_runs(planner, 100)) == 6
    planner.try_lists()
    assert planner.next_list(200) is not None
    assert planner.next_list(200) is None


# --- several watches --------------------------------------------------------------------------------------------------


def test_the_short_list_of_one_group_is_read_often_beside_a_list_of_hundreds_of_pages_of_another() -> None:
    """At five pages a second the long one takes forty seconds and more; the short one comes every few seconds."""
    planner = Planner(low=1, high=10, parts=(Part(group="many"), Part(group="few")))
    for number in range(20_000):
        planner.follow(known(str(number)), 0)
    few, read_at = [str(number) for number in range(20_000, 20_010)], []
    for run_id in few:
        planner.follow(known(run_id), 0)
    for now in (step * 0.2 for step in range(600)):
        look = planner.next_list(now)
        if look is None:
            continue
        if look.name == ListName("RUNNING", group="few"):
            read_at.append(now)
            for run_id in few:
                planner.follow(known(run_id), now + 1, shown=now)
        more = look.name == ListName("RUNNING", group="many") and look.page < 199
        if look.name.status is None:
            planner.newest_read(look, [], now, in_order=False, complete=False)
        else:
            planner.page_read(look, [], "more" if more else None, now)
    assert max(later - one for one, later in pairwise(read_at)) < 10


def test_each_run_is_asked_again_no_sooner_than_its_own_watch_says() -> None:
    claims = Claims(Claim(0, timedelta(seconds=5), timedelta(seconds=60)))
    claims.note("0", Claim(1, timedelta(seconds=1), timedelta(seconds=60)))
    planner = Planner(low=1, high=60, claims=claims)
    for run_id in ("0", "1"):
        planner.follow(known(run_id, "RUNNING" if run_id == "0" else "PENDING", Question.END), 0)
    assert len(get_runs(planner, 0)) == 2
    for run_id in ("0", "1"):
        planner.run_answered(run_id, 0)
        planner.follow(known(run_id, "RUNNING" if run_id == "0" else "PENDING", Question.END), 0)
    assert [look.run_id for look in get_runs(planner, 1)] == ["0"]
    assert [look.run_id for look in get_runs(planner, 5)] == ["1"]


def test_beside_the_whole_account_the_lists_of_a_group_are_read_to_discover_and_answer_for_nobody() -> None:
    planner = Planner(low=5, high=60, parts=(WHOLE, Part(group="7")))
    for run_id in ("0", "1"):
        planner.follow(known(run_id), 10)
    planner.discover(0)
    names = set()
    while (look := planner.next_list(0)) is not None:
        names.add(look.name)
        if look.name.status is None:
            planner.newest_read(look, [], 0, in_order=False, complete=False)
        else:
            for run_id in ("0", "1"):
                planner.shown(run_id, 0)
            planner.page_read(look, ["0", "1"], None, 0)
    assert {name for name in names if name.status == "RUNNING"} == {ListName("RUNNING"), ListName("RUNNING", "7")}
    planner.discover(1000)
    assert read(planner, 10, shows={"RUNNING": ["0", "1"]}) == ["RUNNING"]
