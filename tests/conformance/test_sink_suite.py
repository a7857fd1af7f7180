"""The sink suite itself: an honest sink passes it, and for each of its tests there is a fault that fails it alone."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from poller.core.events import Event
from poller.testing import sending
from poller.testing import sinks as suite
from poller.testing.rigs import Rig
from poller.testing.sinks import SinkConformance
from tests.conformance import broken_sinks as broken
from tests.conformance.broken_sinks import Honest, Service
from tests.conformance.faults import end_what_is_left

KEY = "key-77c0ffee11"
TESTS = sorted(name for name in vars(SinkConformance) if name.startswith("test_"))
SILENT = "nothing_is_acknowledged_while_the_far_end_is_silent"
ENDS = "a_send_that_is_cancelled_ends_and_acknowledges_nothing"
USABLE = "a_send_that_is_cancelled_leaves_the_sink_usable"
ATTEMPT = "another_attempt_sends_the_same_bytes"
ARRIVED = "what_is_acknowledged_has_arrived"
BYTES = "the_bytes_arrive_unchanged"
EVERY_TYPE = "every_type_of_event_can_be_sent"
LATER = "an_event_of_a_later_version_can_be_sent"
LEFT_OUT = "an_event_with_fields_left_out_is_sent_as_it_was_given"
BIG = "a_big_event_arrives_whole_or_is_rejected"
SIDE_BY_SIDE = "sends_at_the_same_time_do_not_mix"
DOWN = "a_far_end_that_is_down_is_a_reason_to_retry"
RESET = "a_far_end_that_breaks_off_is_a_reason_to_retry"
BUSY = "a_far_end_that_asks_for_a_pause_is_given_it"
POISON = "an_event_that_is_refused_for_good_is_rejected"
BATCH = "a_batch_arrives_whole_and_in_order"
PARTIAL = "of_a_batch_what_is_not_named_as_failed_has_arrived"
ENTRY_POINT = "the_type_is_found_by_its_entry_point"
UNKNOWN_KEYS = "the_settings_refuse_unknown_keys"
EXPLAINED = "every_key_of_the_settings_is_explained"
SECRETS = "no_secret_is_shown"
PROBE = "a_probe_sends_nothing"
PREVIEW = "a_preview_can_be_shown_of_every_event"
CLOSED_TWICE = "closing_is_possible_at_any_time_and_twice"
CLOSED_UNUSED = "a_sink_that_has_sent_nothing_can_be_closed"


@dataclass(frozen=True)
class Fault:
    """A sink with a fault, or a rig; what the suite says of it, and its tests that fail, first the one that says it.

    `rig` are parts of the rig that are other than those of an honest one, `table` of its table; `patience`, in seconds,
    is what is spent on a sink that does not come back.
    """

    kind: type[Honest]
    says: str
    fails: Sequence[str]
    rig: Mapping[str, Any] = field(default_factory=dict)
    table: Mapping[str, Any] = field(default_factory=dict)
    patience: float = 20.0


FAULTS = [
    Fault(
        broken.LosesTheFirst,
        "once and as it is: 1 to arrive, 0 arrived; number 1 is missing",
        [
            *(ARRIVED, SILENT, BYTES, EVERY_TYPE, LATER, LEFT_OUT, BIG, SIDE_BY_SIDE, DOWN, RESET, BUSY, POISON),
            *(ATTEMPT, BATCH, PARTIAL, ENDS, USABLE),
        ],
    ),
    Fault(broken.TakesSilenceForAnAnswer, "send returned, and the far end has not answered", [SILENT]),
    Fault(broken.MakesItSafeForScripts, r"number 1 differs from byte \d+ on: b'\\xe2\\x80\\xa8", [BYTES]),
    Fault(broken.KnowsNoCohorts, "every type of event is sent, in the order in which send is called", [EVERY_TYPE]),
    Fault(broken.TakesOnlyWhatItKnows, "no such type", [LATER]),
    Fault(
        broken.TidiesUp, "an event is sent as it was given, without what was left out: .* differs from byte", [LEFT_OUT]
    ),
    Fault(broken.CutsWhatIsBig, "an event of 307,200 bytes arrives whole: .* differs from byte 262144 on", [BIG]),
    Fault(broken.RetriesWhatIsBig, r"always be too big is Rejected, not Retry\('too big'\)", [BIG]),
    Fault(
        broken.SharesState, "sends of different runs go on side by side, and do not mix: 16 to arrive", [SIDE_BY_SIDE]
    ),
    Fault(broken.RejectsOutages, r"its events are not dead; and not Rejected\('down'\)", [DOWN]),
    Fault(
        broken.SwallowsOutages,
        "send returned, which acknowledges the event, and the far end has not taken it",
        [DOWN, RESET, BUSY, ATTEMPT, SECRETS],
    ),
    Fault(
        broken.WaitsForEver,
        "nothing happened in 0.3 seconds; what waits for ever holds up the order of a run",
        [DOWN, RESET, BUSY, ATTEMPT, SECRETS],
        patience=0.3,
    ),
    Fault(broken.CancelsItself, "send cancelled itself; raise Retry", [DOWN, ATTEMPT, SECRETS]),
    Fault(broken.RejectsWhatBreaksOff, "a connection that broke says nothing of the event", [RESET]),
    Fault(broken.ForgetsThePause, r"the far end asks for 7 s, and the sink says Retry\(after=None\)", [BUSY]),
    Fault(broken.TakesMinutesForSeconds, r"asks for 7 s, and the sink says Retry\(after=.*seconds=420", [BUSY]),
    Fault(broken.ProtestsWhenBusy, r"says when to come again is a Retry, not RuntimeError\('429'\)", [BUSY]),
    Fault(broken.NeverRejects, r"will never be taken is Rejected, not Retry\('refused'\)", [POISON]),
    Fault(broken.RejectsWithoutAReason, "the dead letter says why", [POISON]),
    Fault(broken.CountsAttempts, "an event is the same bytes at every attempt", [ATTEMPT]),
    Fault(broken.SendsBackwards, "so all of its batch has arrived, in order: .* number 1 differs", [BATCH]),
    Fault(broken.SendsHalfABatch, "has arrived, in order: 3 to arrive, 2 arrived", [BATCH, PARTIAL]),
    Fault(broken.CountsNothing, "the number of events that one send takes at most, not 0", [BATCH, PARTIAL]),
    Fault(broken.SwallowsPartialFailures, "the far end has not taken it", [PARTIAL]),
    Fault(broken.NamesOneFailure, r"does not name counts as acknowledged, and has not arrived: \[3\] of 3", [PARTIAL]),
    Fault(broken.NamesRuns, "Partial names what is not in the batch: its keys are ids of events", [PARTIAL]),
    Fault(broken.RetriesTheBatch, r"with Retry\('some of it'\) one of them holds up the others", [PARTIAL]),
    Fault(broken.RetriesTheRefused, r"is Rejected, in a batch too, not Retry\('refused'\)", [PARTIAL]),
    Fault(broken.SwallowsCancellation, "send returned when it was cancelled, which acknowledges the event", [ENDS]),
    Fault(broken.GoesOnWhenCancelled, "it goes on though it was cancelled", [ENDS, SILENT, USABLE], patience=0.3),
    Fault(broken.BreaksWhenCancelled, "the connection is in an unknown state", [USABLE]),
    Fault(broken.LeavesTasks, "a cancelled send left tasks behind", [USABLE], patience=0.3),
    Fault(broken.LeavesHalfAnEvent, "a cancelled send left something torn at the far end", [USABLE]),
    Fault(broken.LosesWhatFollowsACancellation, "after a cancelled send nothing arrives", [USABLE]),
    Fault(Honest, "no sink type .memori.; did you mean .memory.*; name it in", [ENTRY_POINT], table={"type": "memori"}),
    Fault(Honest, "the entry point leads to .*StdoutSink", [ENTRY_POINT], table={"type": "stdout"}),
    Fault(broken.TakesUnknownKeys, "a key that there is not is taken", [UNKNOWN_KEYS]),
    Fault(broken.ExplainsNothing, "no description: retries", [EXPLAINED]),
    Fault(broken.ShowsItsKeyInItsRepr, "a secret is shown: the sink's repr; the sink's str", [SECRETS]),
    Fault(broken.KeepsItsKeyAsText, "the settings as JSON; the settings' repr; the settings' str", [SECRETS]),
    Fault(broken.ShowsWhatIsWrongWithItsKey, "the error about a wrong key .hide_input_in_errors hides it.", [SECRETS]),
    Fault(broken.SaysWhatTheServiceSays, "the error, or its traceback, of a far end that is told down", [SECRETS]),
    Fault(broken.KeepsTheCause, "the error, or its traceback, of a far end that is told reset", [SECRETS]),
    Fault(broken.LogsItsKey, "a secret is shown: the log", [SECRETS]),
    Fault(broken.PreviewsItsKey, "a secret is shown: the preview", [SECRETS]),
    Fault(Honest, "secrets are in the rig's table that its `secrets` do not name: key", [SECRETS], rig={"secrets": ()}),
    Fault(broken.ProbesBySending, "a probe asks whether something could be sent, and sends nothing", [PROBE]),
    Fault(broken.PreviewsText, "`preview` returns a Preview, not", [PREVIEW]),
    Fault(broken.PreviewsRunsOnly, "run_id", [PREVIEW]),
    Fault(broken.ClosesOnce, "closed already", [CLOSED_TWICE]),
    Fault(broken.ClosesWhatItNeverOpened, "there is no connection", [CLOSED_UNUSED]),
]


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The type `memory`, as a package would claim it."""
    metadata = tmp_path / "memory-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: memory\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[poller.sinks]\nmemory = {Honest.__module__}:Honest\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@asynccontextmanager
async def rig_of(fault: Fault) -> AsyncIterator[Rig]:
    service = Service()
    table = {"name": "mine", "type": "memory", "key": KEY, **fault.table}
    sink: Any = fault.kind(fault.kind.settings_model.model_validate(table), service)
    yield Rig(sink, service, table, **{"secrets": (KEY,), **fault.rig})
    await end_what_is_left()


async def result(name: str, fault: Fault) -> BaseException | None:
    """What a test of the suite raises, with a rig of its own."""
    async with rig_of(fault) as rig:
        task = asyncio.ensure_future(getattr(SinkConformance(), name)(rig))
        await asyncio.wait([task])
        error: BaseException | None = task.exception()
        return error


async def test_an_honest_sink_passes_and_nothing_is_skipped() -> None:
    for name in TESTS:
        assert await result(name, Fault(Honest, "", [])) is None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind.__name__)
async def test_a_fault_fails_its_own_test_alone_and_is_told_in_words_of_the_contract(
    fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PATIENCE", fault.patience)
    monkeypatch.setattr(suite, "SILENCE", 5.0 if fault.fails[0] == SILENT else 0.01)
    failed = {name.removeprefix("test_"): error for name in TESTS if (error := await result(name, fault)) is not None}
    assert failed.keys() == set(fault.fails)
    with pytest.raises(BaseException, match=f"(?s){fault.says}"):
        raise failed[fault.fails[0]]


def test_every_test_of_the_suite_is_failed_by_a_sink_that_fails_no_other() -> None:
    """But for the first, on which the others build: a sink that loses what it acknowledges fails them as well."""
    alone = {fault.fails[0] for fault in FAULTS if len(fault.fails) == 1}
    assert {name.removeprefix("test_") for name in TESTS} == alone | {ARRIVED}


async def test_a_sink_that_blocks_the_event_loop_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that catches what it can: a client that is not made for asyncio would hang the suite otherwise."""

    class BlocksTheLoop(Honest):
        async def send(self, events: Sequence[Event]) -> None:
            with suppress(Exception):
                threading.Event().wait()

    monkeypatch.setattr(sending, "BLOCKED", 0.05)
    for name in (f"test_{ARRIVED}", f"test_{DOWN}", f"test_{SILENT}"):
        error = await result(name, Fault(BlocksTheLoop, "", []))
        assert isinstance(error, pytest.fail.Exception)
        assert "the sink blocks it, and with it the whole daemon" in str(error)


def test_a_difference_names_the_first_place() -> None:
    assert sending.difference([b"abc"], [b"abd"]).endswith(
        "number 1 differs from byte 2 on: b'c' is to arrive, b'd' arrived"
    )
    assert sending.difference([b"a"], [b"a", b"b"]) == "1 to arrive, 2 arrived; number 2 too many: b'b'"
    assert sending.difference([b"a", b"b"], [b"a"]) == "2 to arrive, 1 arrived; number 2 is missing: b'b'"
    assert "from byte 1 on: b'' is to arrive, b'b' arrived" in sending.difference([b"a"], [b"ab"])
