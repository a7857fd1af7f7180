"""What several watches take between them, which lists show it, and what is told of it first."""

from datetime import timedelta
from typing import Any

import pytest

from poller.core.cadence import Pace
from poller.core.claims import Claim
from poller.core.lists import WHOLE, ListName, Part
from poller.core.runs import EmitFirst, Snapshot
from poller.polling.discovery import Discovery
from poller.polling.rules import Match, Rule, Rules, loudest
from tests.unit.polling.simulation import START

RUNNING = ListName("RUNNING")


def item(run_id: str = "1", **fields: Any) -> Snapshot:
    return Snapshot(run_id, "RUNNING", False, START, START, creation_time=START, fields=fields)


def looked(run_id: str = "1", **fields: Any) -> Snapshot:
    return Snapshot(run_id, "RUNNING", True, START, START, creation_time=START, uuid="u", fields=fields)


def rule(prefix: str = "", groups: tuple[str, ...] = (), **more: Any) -> Rule:
    return Rule(True, groups, prefix, **more)


def tagged(prefix: str = "", **tags: str) -> Rule:
    return rule(prefix, tags=frozenset(tags.items()))


# --- whose a run is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "shown", "group", "taken"),
    [
        (Rule(), item(), None, False),
        (rule(), item(), None, True),
        (rule("lab"), item(name="lab-1"), None, True),
        (rule("lab"), item(name="Lab-1"), None, False),
        (rule("lab"), item(), None, False),
        (rule(groups=("7",)), item(), None, False),
        (rule(groups=("7", "8")), item(), "8", True),
        (rule(groups=("7",)), item(), "8", False),
        (rule("lab", ("7",)), item(name="else"), "7", False),
        (rule(groups=("7",)), looked(runGroupId="7"), None, True),
        (rule(groups=("7",)), looked(), None, False),
        (rule(workflows=("3", "4")), item(workflowId="4"), None, True),
        (rule(workflows=("3",)), item(workflowId="4"), None, False),
        (rule(workflows=("3",)), item(), None, False),
        (rule("lab", workflows=("3",)), item(workflowId="3", name="else"), None, False),
        (tagged(project="x"), looked(tags={"project": "x", "site": "y"}), None, True),
        (tagged(project="x", site="y"), looked(tags={"project": "x"}), None, False),
        (tagged(project="x"), looked(tags={"project": "X"}), None, False),
        (tagged(project=""), looked(), None, False),
        (Rule(batches=("5",)), item(batchId="5"), None, True),
        (Rule(batches=("5",)), item(batchId="6"), None, False),
        (Rule(run_ids=frozenset("1")), item("1"), None, False),
    ],
)
def test_a_watch_takes_what_its_keys_say(one: Rule, shown: Snapshot, group: str | None, taken: bool) -> None:
    assert one.match(shown, group) is (Match.YES if taken else Match.NO)


@pytest.mark.parametrize(
    ("rules", "shown", "match"),
    [
        ([tagged(project="x")], item(), Match.MAYBE),
        ([tagged("lab", project="x")], item(name="lab-1"), Match.MAYBE),
        ([tagged("lab", project="x")], item(name="else"), Match.NO),
        ([tagged(project="x"), rule("lab")], item(name="lab-1"), Match.YES),
        ([tagged(project="x"), rule("lab")], item(name="else"), Match.MAYBE),
        ([], item(), Match.NO),
    ],
)
def test_where_tags_decide_only_a_get_run_can_tell_unless_another_watch_takes_the_run(
    rules: list[Rule], shown: Snapshot, match: Match
) -> None:
    assert Rules(rules).match(shown) is match


def test_the_union_of_the_watches_is_followed_and_each_takes_its_own() -> None:
    rules = Rules([rule("a"), rule("b", emit_first="never"), Rule(batches=("5", "6")), Rule(run_ids=frozenset("9"))])
    assert [len(rules.takers(item(name=name))) for name in ("a-1", "b-1", "c-1")] == [1, 1, 0]
    assert rules.takers(item(name="b", batchId="6")) == rules.rules[1:3]
    assert rules.discover
    assert rules.reads_lists
    assert (rules.batches, rules.run_ids) == (("5", "6"), frozenset("9"))
    assert not Rules([]).reads_lists
    assert Rules([Rule(batches=("5",))]).reads_lists


# --- which lists show it ----------------------------------------------------------------------------------------------


def groups(*names: str) -> tuple[Part, ...]:
    return tuple(Part(group=name) for name in names)


@pytest.mark.parametrize(
    ("rules", "parts"),
    [
        ([], (WHOLE,)),
        ([Rule()], (WHOLE,)),
        ([rule()], (WHOLE,)),
        ([rule("a"), rule("b")], (WHOLE,)),
        ([rule(groups=("7",)), rule(groups=("8", "7"))], groups("7", "8")),
        ([rule(groups=("7",)), Rule(batches=("5",))], (*groups("7"), Part(batch="5"))),
        ([Rule(batches=("1", "2")), Rule(batches=("2", "3"))], tuple(Part(batch=one) for one in "123")),
        ([Rule(batches=("1", "2", "3")), Rule(batches=("4", "5"))], (WHOLE,)),
        ([Rule(batches=tuple("12345")), rule(groups=("7",))], (WHOLE, *groups("7"))),
        ([rule(), rule(groups=("7",))], (WHOLE,)),
        ([rule("a"), rule("ab", ("7",)), rule("b", ("8",))], (WHOLE, *groups("8"))),
        ([Rule(groups=("7",)), rule("a")], (WHOLE,)),
        ([rule(workflows=("3",)), rule(groups=("7",), workflows=("3",))], (WHOLE,)),
        ([rule(workflows=("3",)), rule(groups=("7",))], (WHOLE, *groups("7"))),
        ([tagged(project="x"), rule(groups=("7",))], (WHOLE, *groups("7"))),
        ([tagged(project="x"), rule(groups=("7",), tags=frozenset({("project", "x"), ("a", "b")}))], (WHOLE,)),
    ],
)
def test_the_lists_are_narrowed_to_the_union_or_are_those_of_the_whole_account(
    rules: list[Rule], parts: tuple[Part, ...]
) -> None:
    assert Rules(rules).parts == parts


# --- what is told first -----------------------------------------------------------------------------------------------


def test_the_most_talkative_watch_that_takes_a_run_says_what_is_told_first() -> None:
    quiet, ends, all_ = (rule(prefix, emit_first=how) for prefix, how in _SAID)
    discovery = Discovery(Rules([quiet, ends, all_]), START)
    for name, said in (("a", "never"), ("ab", "terminal"), ("abc", "always")):
        adopted = discovery.adopt(item(name=name), RUNNING)
        assert adopted is not None
        assert adopted.emit_first == said
    assert discovery.adopt(item(name="b"), RUNNING) is None


_SAID: tuple[tuple[str, EmitFirst], ...] = (("a", "never"), ("ab", "terminal"), ("abc", "always"))


def test_a_look_may_show_that_a_more_talkative_watch_takes_a_run_too_but_not_after_it_was_seen() -> None:
    discovery = Discovery(Rules([rule(emit_first="never"), rule(groups=("7",))]), START)
    adopted = discovery.adopt(item(), RUNNING)
    assert adopted is not None
    assert adopted.emit_first == "never"
    assert discovery.heard(adopted, looked()).emit_first == "never"
    heard = discovery.heard(adopted, looked(runGroupId="7"))
    assert heard.emit_first == "always"
    assert discovery.heard(heard, looked()).emit_first == "always", "what was said stays said"


# --- how often it is asked about --------------------------------------------------------------------------------------


def seconds(claim: Claim) -> tuple[float, float]:
    return claim.low.total_seconds(), claim.high.total_seconds()


def test_of_the_watches_that_take_a_run_the_shortest_intervals_count() -> None:
    quick = rule("a", min_interval=timedelta(seconds=1))
    short = rule("ab", max_interval=timedelta(seconds=20))
    slow = Rule(batches=("5",), min_interval=timedelta(minutes=1), max_interval=timedelta(hours=1))
    rules = Rules([quick, short, slow, Rule(run_ids=frozenset("9"))], Pace())
    assert seconds(rules.common) == (5, 60)
    assert seconds(rules.claim("1", item(name="a"))) == (1, 60)
    assert seconds(rules.claim("1", item(name="ab"))) == (1, 20)
    assert seconds(rules.claim("1", item(name="b", batchId="5"))) == (60, 3600)
    assert seconds(rules.claim("1", batch_id="5")) == seconds(rules.claim_of_batch("5")) == (60, 3600)
    assert seconds(rules.claim("9", item(name="ab", batchId="5"))) == (1, 20)
    assert rules.claim("1", item(name="ab")) is rules.claim("2", item("2", name="abc")), "one object for all of them"
    assert rules.claim("9").watches == 0b1000
    assert rules.claim("1", item(name="c")) is rules.common
    assert (rules.shortest.total_seconds(), seconds(rules.of_lists)) == (1, (1, 20))


def test_lists_are_read_for_new_runs_as_the_watches_want_it_that_find_runs_in_them() -> None:
    hour = timedelta(hours=1)
    named = Rule(run_ids=frozenset("9"), min_interval=timedelta(seconds=1))
    rules = Rules([rule(min_interval=hour, max_interval=hour), named], Pace())
    assert (rules.shortest.total_seconds(), seconds(rules.of_lists)) == (1, (3600, 3600))
    assert seconds(Rules([named], Pace()).of_lists) == (5, 60)


def test_one_watch_without_intervals_of_its_own_needs_nobody_told_apart() -> None:
    assert not Rules([rule("a")], Pace()).tell_apart
    assert Rules([rule("a", max_interval=timedelta(seconds=20))], Pace()).tell_apart
    assert Rules([rule("a"), Rule()], Pace()).tell_apart


def test_a_run_that_may_be_a_watchs_counts_as_its_own_while_it_is_asked_about() -> None:
    rules = Rules([tagged(project="x"), rule("lab")])
    assert rules.claim("1", item(), least=Match.MAYBE).watches == 0b01
    assert rules.claim("1", item()).watches == 0


def test_the_loudest_of_nothing_says_nothing() -> None:
    assert loudest([]) == "never"
