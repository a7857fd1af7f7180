"""A run id that another run has taken: the old run's last event, then the new one's first, and nothing lost between."""

from dataclasses import replace

from poller.core.machine import observe
from poller.core.runs import KnownRun, Question, Verdict
from poller.core.succession import await_manifest, is_succeeded, kept_look, succeed

from .lives import RUN_ID, Life, answer, at, manifest

OLD = Life("uuid-old", (("PENDING", 10.0), ("RUNNING", 20.0), ("FAILED", 90.0)), deleted_at=100.0, forgotten_at=100.0)
NEW = Life("uuid-new", (("PENDING", 200.0), ("RUNNING", 230.0), ("COMPLETED", 300.0)))
LIVES = (OLD, NEW)


def seen_running() -> KnownRun:
    shown = answer(LIVES, 30)
    assert shown is not None
    return observe(KnownRun(RUN_ID), shown).known


def test_a_newer_run_under_the_id_is_noticed_once_the_old_one_was_told_of() -> None:
    look = answer(LIVES, 205)
    assert look is not None
    assert is_succeeded(seen_running(), look)
    assert not is_succeeded(KnownRun(RUN_ID), look), "nobody knows of another one"
    assert not is_succeeded(KnownRun(RUN_ID, uuid="uuid-old"), look), "nothing was ever told of it"
    assert not is_succeeded(replace(seen_running(), verdict=Verdict.ENDED), look)
    assert not is_succeeded(replace(seen_running(), verdict=Verdict.VANISHED), look), "its manifest was asked for"


def test_the_old_run_ends_as_its_manifest_shows_and_the_new_one_begins() -> None:
    look, shown = answer(LIVES, 205), manifest(OLD, 205)
    assert look is not None
    waiting = await_manifest(seen_running(), look)
    assert (waiting.uuid, waiting.question) == ("uuid-old", Question.IDENTITY)
    observed = succeed(waiting, look, shown, ("manifest: FAILED",))
    failed, pending = observed.transitions
    assert (failed.kind, failed.uuid, failed.recovered_from) == ("failed", "uuid-old", "manifest")
    assert (failed.evidence, failed.occurred_at) == (("manifest: FAILED",), at(90))
    assert (pending.kind, pending.uuid, pending.first) == ("pending", "uuid-new", True)
    assert (observed.known.uuid, observed.known.successor) == ("uuid-new", None)


def test_without_a_manifest_the_old_run_is_replaced_and_the_event_says_what_was_tried() -> None:
    look = answer(LIVES, 205)
    assert look is not None
    observed = succeed(await_manifest(seen_running(), look), look, None, ("manifest: not there",))
    replaced, pending = observed.transitions
    assert (replaced.kind, replaced.replaced_by) == ("replaced", "uuid-new")
    assert replaced.evidence == ("manifest: not there",)
    assert pending.evidence == ()


def test_a_manifest_of_neither_run_says_nothing() -> None:
    look, shown = answer(LIVES, 205), manifest(Life("uuid-older", (("COMPLETED", 1.0),)), 205)
    assert look is not None
    replaced, _ = succeed(await_manifest(seen_running(), look), look, shown, ()).transitions
    assert replaced.kind == "replaced"


def test_what_was_shown_before_a_crash_goes_first() -> None:
    before, after = answer(LIVES, 205), answer(LIVES, 250)
    assert before is not None
    assert after is not None
    waiting = await_manifest(await_manifest(seen_running(), before), after)
    kept = kept_look(waiting)
    assert kept is not None
    assert (kept.status, kept.uuid, kept.asked_at) == ("RUNNING", "uuid-new", after.asked_at)
    observed = succeed(waiting, after, None, ())
    assert [one.kind for one in observed.transitions] == ["replaced", "pending", "running"]
    assert observed.transitions[1].observed_at == before.answered_at


def test_of_three_runs_under_one_id_each_is_told() -> None:
    third = Life("uuid-third", (("PENDING", 400.0),))
    before, after = answer(LIVES, 205), answer((*LIVES, third), 405)
    assert before is not None
    assert after is not None
    waiting = await_manifest(seen_running(), before)
    assert await_manifest(waiting, after) == waiting
    observed = succeed(waiting, after, None, ())
    told = [(one.kind, one.uuid) for one in observed.transitions]
    assert told == [
        ("replaced", "uuid-old"),
        ("pending", "uuid-new"),
        ("replaced", "uuid-new"),
        ("pending", "uuid-third"),
    ]
    assert observed.known.uuid == "uuid-third"
