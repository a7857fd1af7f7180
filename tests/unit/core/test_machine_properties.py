"""What the state machine promises, over all the lives that a run id can have and all that the API can say of them."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poller.core.drafts import Place, event_of
from poller.core.endings import missed, recover, refuse, vanish
from poller.core.machine import observe
from poller.core.runs import EmitFirst, KnownRun, Question, Snapshot, Verdict
from poller.core.succession import await_manifest, is_succeeded, kept_look, succeed
from poller.core.transitions import Transition

from .lives import ENDS, PATH, RANKS, RUN_ID, Life, answer, at, manifest

PLACE = Place("lab", "us-east-1", "123456789012")
STATUS_KINDS = {status.lower() for status in RANKS}
UNSEEN = {"vanished", "unreachable", "replaced"}

thorough = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def lives(draw: st.DrawFn, *, odd: bool = True) -> tuple[Life, ...]:
    """One to three incarnations of one id, one after the other."""
    second = 10.0
    found: list[Life] = []
    for number in range(draw(st.integers(1, 3))):
        history: list[tuple[str, float]] = []
        passed = draw(st.sets(st.sampled_from(PATH[1:])))
        for status in ("PENDING", *(name for name in PATH[1:] if name in passed)):
            history.append((status, second))
            second += draw(st.sampled_from([1.5, 20.0, 300.0]))
            if odd and draw(st.integers(0, 7)) == 0:
                history.append(("PAUSED", second))
                second += 20.0
        last = number == 0 or draw(st.booleans())
        deleted = forgotten = other = None
        if draw(st.integers(0, 5)) > 0 or not last:
            history.append((draw(st.sampled_from(ENDS)), second))
            second += draw(st.sampled_from([5.0, 100.0]))
            if odd and draw(st.integers(0, 5)) == 0:
                other = draw(st.sampled_from([end for end in ENDS if end != history[-1][0]]))
        changes = second
        if draw(st.booleans()):
            second += 50.0
            deleted = second
            forgotten = second + draw(st.sampled_from([0.0, 30.0]))
            second = forgotten
        second += draw(st.sampled_from([2.0, 60.0]))
        found.append(Life(f"uuid-{number}", tuple(history), deleted, forgotten, other, changes))
    return tuple(
        life if life is found[-1] or life.forgotten_at is not None else forget(life, found[number + 1].created)
        for number, life in enumerate(found)
    )


def forget(life: Life, second: float) -> Life:
    """An id is used again only once its run is gone."""
    return Life(life.uuid, life.history, second, second, life.other_end, life.changes_its_mind_at)


@dataclass
class Watcher:
    """The least that a poller can be: it asks, applies, and keeps what was told, each event id once (as the record)."""

    lives: tuple[Life, ...]
    known: KnownRun
    told: list[Transition] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    misses: int = 0
    comparable: bool = True
    held: Snapshot | None = None

    def tell(self, transitions: tuple[Transition, ...]) -> None:
        for one in transitions:
            identity = event_of(one, PLACE, {}).id
            again = identity in self.ids and one.kind not in UNSEEN
            assert not again or not self.comparable, f"{one.kind} {one.key} was told twice"
            if identity not in self.ids:
                self.ids.add(identity)
                self.told.append(one)

    def apply(self, snapshot: Snapshot) -> None:
        before = self.known
        self.known, transitions, _ = observe(before, snapshot)
        self.tell(transitions)
        assert observe(before, snapshot) == observe(before, snapshot), "a crash before the commit changes nothing"
        assert not observe(self.known, snapshot).transitions, "the same answer once more tells nothing"
        if snapshot.full and self.known.creation_time == cut(snapshot) and snapshot.status in ENDS:
            assert self.known.verdict is Verdict.ENDED, "GetRun showed the end"

    def look(self, snapshot: Snapshot, *, asks_manifests: bool) -> None:
        """A GetRun answered; one that shows the next incarnation may wait for the manifest of the last one."""
        if asks_manifests and is_succeeded(self.known, snapshot):
            self.known, self.held = await_manifest(self.known, snapshot), snapshot
        else:
            self.apply(snapshot)

    def go_on(self, shown: Snapshot | None) -> None:
        """The manifest of the old incarnation was asked for, and the answer that waited is applied."""
        look = self.held or kept_look(self.known)
        assert look is not None
        self.known, transitions, _ = succeed(self.known, look, shown, ("manifest",))
        self.held = None
        self.tell(transitions)
        assert self.known.successor is None

    def life_of(self, one: Transition) -> Life | None:
        """Whose event it is; None: of a run that was never seen."""
        for life in self.lives:
            if one.incarnation in (life.uuid, f"created:{life.created_ms}"):
                return life
        assert one.incarnation == ""
        return None

    def of(self, life: Life) -> list[Transition]:
        return [one for one in self.told if self.life_of(one) is life]


def cut(snapshot: Snapshot) -> Any:
    moment = snapshot.creation_time
    return None if moment is None else moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@st.composite
def watched(
    draw: st.DrawFn, *, stale: bool = True, gaps: bool = False, refusals: bool = True, emit: bool = True
) -> Watcher:
    """A watcher after any course of looks: full or partial, stale, out of order, not found, given up, come back."""
    truth = draw(lives())
    emit_first: EmitFirst = draw(st.sampled_from(("always", "terminal", "never"))) if emit else "always"
    uuids = draw(st.sampled_from(("always", "never", "sometimes")))
    watcher = Watcher(truth, KnownRun(RUN_ID, emit_first=emit_first), comparable=not gaps)
    late: Snapshot | None = None
    second = draw(st.sampled_from([0.0, 11.0, 200.0]))
    asks_manifests = draw(st.booleans())
    operations = ["get", "get", "list", "list", "list", "climb", "late", *(["refuse"] if refusals else [])]
    operations += ["manifest", "manifest"] if asks_manifests else []
    for _ in range(draw(st.integers(1, 25))):
        second += draw(st.sampled_from([1.0, 7.0, 40.0, 400.0]))
        lag = draw(st.sampled_from([0.0, 0.0, 0.0, 30.0, 500.0])) if stale else 0.0
        operation = draw(st.sampled_from(operations))
        if watcher.known.successor is not None:
            comes = draw(st.sampled_from(["crash", "manifest", "nothing yet"]))
            shown = answer(truth, second, lag=lag)
            if comes == "manifest":
                watcher.go_on(draw(st.sampled_from([None, *manifests(truth, second)])))
            elif comes == "crash" and shown is not None:  # only what was written is left of the answer that waited
                watcher.held = None
                watcher.look(shown, asks_manifests=True)
            continue
        if operation in ("get", "list", "late"):
            full = operation == "get" or (operation == "late" and draw(st.booleans()))
            shown = answer(
                truth,
                second,
                full=full,
                lag=lag,
                with_uuid=uuids == "always" or (uuids == "sometimes" and draw(st.booleans())),
                with_created=not gaps or draw(st.booleans()),
            )
            if operation == "late" and stale:
                late, shown = shown, late  # what was asked before comes after what was asked later
            if shown is not None and shown.full:
                watcher.look(shown, asks_manifests=asks_manifests)
                watcher.misses = 0
            elif shown is not None:
                watcher.apply(shown)
            elif full and operation == "get":
                watcher.known = missed(watcher.known, at(second + 0.2))
                watcher.misses += 1
        elif operation == "climb" and watcher.known.live and (watcher.misses > 1 or watcher.known.shown_deleted):
            watcher.known, transitions, _ = vanish(watcher.known, at(second), ("GetRun", "ListRuns"))
            watcher.tell(transitions)
        elif operation == "refuse" and draw(st.integers(0, 3)) == 0:
            watcher.known, transitions, _ = refuse(watcher.known, at(second), "ValidationException")
            watcher.tell(transitions)
        elif operation == "manifest" and (watcher.misses > 1 or watcher.known.verdict is Verdict.VANISHED):
            for shown in manifests(truth, second):
                before = watcher.known
                watcher.known, transitions, _ = recover(before, shown, ("GetRun", "ListRuns", "manifest"))
                watcher.tell(transitions)
                assert not recover(watcher.known, shown, ("again",)).transitions
    if watcher.known.successor is not None:
        watcher.go_on(None)
    return watcher


def manifests(truth: tuple[Life, ...], second: float) -> list[Snapshot]:
    """The manifests of all lives that are there."""
    return [shown for life in truth if (shown := manifest(life, second)) is not None]


@thorough
@given(watched())
def test_an_incarnation_has_one_end_at_most_and_nothing_follows_it_but_a_contradiction(watcher: Watcher) -> None:
    for life in watcher.lives:
        told = watcher.of(life)
        assert sum(one.terminal for one in told) <= 1
        last = next((number for number, one in enumerate(told) if one.terminal), None)
        if last is not None:
            assert {one.kind for one in told[last + 1 :]} <= {"contradicted"}
        contradicted = [one.status for one in told if one.kind == "contradicted"]
        assert len(contradicted) == len(set(contradicted))
        replaced = next((number for number, one in enumerate(told) if one.kind == "replaced"), None)
        assert replaced is None or replaced == len(told) - 1


@thorough
@given(watched())
def test_events_of_an_incarnation_are_in_lifecycle_order_and_form_a_chain(watcher: Watcher) -> None:
    for life in watcher.lives:
        steps = [one for one in watcher.of(life) if one.kind in STATUS_KINDS]
        for one, following in pairwise(steps):
            assert RANKS[str(one.status)] < RANKS[str(following.status)]
            assert following.previous_status == one.status
        for one in steps:
            if one.previous_status is None:
                assert one.skipped == ()
            else:
                low, high = RANKS[one.previous_status], RANKS[str(one.status)]
                assert one.skipped == PATH[low + 1 : high]
            assert one.terminal == (RANKS[str(one.status)] >= 4)
        assert len({one.incarnation for one in watcher.of(life)}) <= 1, "fixed with its first event"


@thorough
@given(watched(emit=False))
def test_the_first_observation_is_the_first_event_of_an_incarnation_that_was_seen(watcher: Watcher) -> None:
    for life in watcher.lives:
        told = watcher.of(life)
        seen = [one for one in told if one.kind not in UNSEEN]
        assert [one.first for one in seen] == [True, *[False] * (len(seen) - 1)][: len(seen)]
        assert not any(one.first for one in told if one.kind in UNSEEN)
        for one in told:
            if one.first:
                assert (one.previous_status, one.not_before) == (None, None)


@thorough
@given(watched(emit=False))
def test_every_status_that_a_get_run_showed_and_every_end_is_told(watcher: Watcher) -> None:
    """Once a GetRun after all that happened has answered, the record knows the truth and has no question left."""
    final = 100_000.0
    last = watcher.lives[-1]
    shown = answer(watcher.lives, final)
    if shown is None:
        return
    watcher.apply(shown)
    told = watcher.of(last)
    if shown.status == "DELETED":
        assert any(one.terminal for one in told) or watcher.known.question is Question.GONE
    elif shown.status in RANKS:
        assert any(one.status == watcher.known.status for one in told)
        assert watcher.known.question is None
        if shown.status in ENDS:
            assert sum(one.terminal for one in told) == 1
    else:
        assert sum(one.status == shown.status for one in told) == 1
    for older in watcher.lives[:-1]:
        closed = watcher.of(older)
        assert not closed or closed[-1].kind in ("replaced", "contradicted") or any(one.terminal for one in closed)


@thorough
@given(watched())
def test_replaced_names_the_incarnation_that_took_the_id(watcher: Watcher) -> None:
    for number, life in enumerate(watcher.lives):
        for one in watcher.of(life):
            if one.kind == "replaced":
                later = {newer.uuid for newer in watcher.lives[number + 1 :]}
                assert one.replaced_by is None or one.replaced_by in later
                assert not any(told.terminal for told in watcher.of(life))
            else:
                assert one.replaced_by is None


@thorough
@given(watched())
def test_times_are_in_order_and_a_stamp_is_the_truth(watcher: Watcher) -> None:
    for one in watcher.told:
        assert one.not_before is None or one.not_before <= one.occurred_at
        assert one.occurred_at <= one.observed_at
        assert (one.occurred_at_source == "observed_at") <= (one.occurred_at == one.observed_at)
        life = watcher.life_of(one)
        if life is not None and one.kind in STATUS_KINDS and one.occurred_at_source != "observed_at":
            assert one.status is not None
            entered = life.entered(one.status)
            if entered is not None and one.status != life.other_end:
                assert one.occurred_at.timestamp() - at(entered).timestamp() <= 0
                assert at(entered).timestamp() - one.occurred_at.timestamp() < 0.001  # lists give fewer digits


@thorough
@given(watched(stale=False))
def test_without_stale_reads_the_transition_lies_between_not_before_and_observed_at(watcher: Watcher) -> None:
    for one in watcher.told:
        life = watcher.life_of(one)
        if life is None or one.kind not in STATUS_KINDS or one.previous_status is None or one.status == "DELETED":
            continue
        assert one.status is not None
        assert one.not_before is not None
        entered = life.entered(one.status)
        if entered is not None:
            assert at(entered) <= one.observed_at
        if one.previous_status in dict(life.history):
            assert one.not_before <= at(life.left(one.previous_status))


@thorough
@given(watched(refusals=False))
def test_an_end_is_told_only_from_a_get_run_or_says_where_it_was_recovered(watcher: Watcher) -> None:
    for one in watcher.told:
        if one.terminal:
            assert one.snapshot is not None
            assert one.snapshot.full or one.recovered_from in ("ListRuns", "manifest") or one.status == "DELETED"
            assert one.recovered_from != "manifest" or one.evidence
        else:
            assert one.recovered_from is None


@thorough
@given(watched(gaps=True))
def test_answers_without_creation_time_or_uuid_tell_no_end_twice_and_crash_nothing(watcher: Watcher) -> None:
    """What cannot be told apart is not, but receivers get each id and each end once: the record skips an id it has."""
    by_incarnation: dict[str, int] = {}
    for one in watcher.told:
        by_incarnation[one.incarnation] = by_incarnation.get(one.incarnation, 0) + one.terminal
    assert all(ends <= 1 for ends in by_incarnation.values())


@thorough
@given(lives(odd=False), st.lists(st.tuples(st.sampled_from([5.0, 60.0]), st.booleans()), max_size=30))
def test_unknown_statuses_are_told_once_and_never_end_a_run(
    truth: tuple[Life, ...], looks: list[tuple[float, bool]]
) -> None:
    known, second = KnownRun(RUN_ID), 10.0
    told: list[Transition] = []
    for step, odd in looks:
        second += step
        shown = answer(truth[:1], second)
        if shown is None or known.verdict is Verdict.ENDED:
            continue
        if odd:
            shown = Snapshot(RUN_ID, "HIBERNATING", True, shown.asked_at, shown.answered_at, shown.uuid)
        known, transitions, _ = observe(known, shown)
        told += transitions
        if odd:
            assert known.live
    unknown = [one for one in told if one.kind == "unknown_status"]
    assert len(unknown) <= 1
    for one in unknown:
        assert (one.status, one.key, one.terminal, one.skipped) == ("HIBERNATING", "HIBERNATING", False, ())


@thorough
@given(
    lives(odd=False),
    st.lists(st.tuples(st.sampled_from([1.0, 15.0, 200.0]), st.booleans()), min_size=1, max_size=15),
)
def test_no_status_that_the_service_showed_is_lost_whether_a_list_or_get_run_showed_it(
    truth: tuple[Life, ...], looks: list[tuple[float, bool]]
) -> None:
    """Each step is told by the uuid, with the time of the answer that showed it first, once a GetRun has proven it."""
    life = Life("uuid-0", truth[0].history)
    known, second = KnownRun(RUN_ID), life.created
    shown_first: dict[str, Snapshot] = {}
    told: list[Transition] = []
    for step, full in [*looks, (1.0, True)]:
        second += step
        shown = answer([life], second, full=full)
        assert shown is not None
        if full or shown.status not in ENDS:
            shown_first.setdefault(shown.status, shown)
        known, transitions, _ = observe(known, shown)
        told += transitions
    assert [one.status for one in told] == list(shown_first)
    assert [one.observed_at for one in told] == [one.answered_at for one in shown_first.values()]
    assert {one.incarnation for one in told} == {"uuid-0"}
    assert {one.uuid for one in told} == {"uuid-0"}


@thorough
@given(watched(emit=False, refusals=False))
def test_once_a_manifest_shows_it_the_end_of_a_run_that_is_gone_is_told_exactly_once(watcher: Watcher) -> None:
    last = watcher.lives[-1]
    shown = manifest(last, 100_000.0)
    if shown is None or (watcher.known.uuid or last.uuid) != last.uuid or watcher.known.status == "DELETED":
        return
    if watcher.known.creation_time is not None and watcher.known.creation_time != cut(shown):
        return
    watcher.known, transitions, _ = recover(watcher.known, shown, ("manifest",))
    watcher.tell(transitions)
    assert watcher.known.verdict is Verdict.ENDED
    assert watcher.known.status in ENDS
    assert sum(one.terminal for one in watcher.of(last)) == 1
