"""The sink conformance suite: what the dispatcher relies on in every sink, ours and other people's.

Subclass `SinkConformance` and give it a fixture `rig`: a sink, its far end, and what the transport cannot do. A rig
says so in words (`lacks`), and the tests that need it are then skipped with these words, never in silence.
How: docs/sinks.md.
"""

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, Literal, Protocol

import pytest
from pydantic import ValidationError

from poller.core.errors import Partial, Rejected
from poller.core.events import Event
from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.ports import Sink

Answer = Literal["taken", "down", "poison", "hang", "reset"]
"""What a far end does with the next events, until it is told otherwise.

taken: it takes them · down: it refuses them in a way that passes or that a person mends (HTTP 503, a full disk) ·
poison: it will never take such an event · hang: it takes what comes and does not answer · reset: it breaks off.
"""

PATIENCE: Final = 20.0
"""Seconds that anything here may take; a sink that needs them all has failed."""
SILENCE: Final = 0.2
"""Seconds for which a far end says nothing while it is watched that no sink takes this for an answer."""


class FarEnd(Protocol):
    """Where the sink under test sends to."""

    async def received(self) -> Sequence[bytes]:
        """The bodies of the events that arrived and were taken so far, in order of arrival."""
        ...

    def answers(self, answer: Answer) -> None:
        """What is done from now on. What hangs is let go by the next call, and need not be counted as received."""
        ...

    async def reached(self) -> None:
        """Return once a send hangs here."""
        ...


@dataclass
class Rig:
    """A sink ready to send, and what is around it.

    `table` is a valid table of the configuration for such a sink; `secrets` are planted in it, or in the environment,
    and must show nowhere. `lacks` says what this transport, or this far end, cannot do: answer -> reason. `rendered`
    says what is received of an event, by a sink that does not send its bytes: a message in a chat.
    """

    sink: Sink
    far_end: FarEnd
    table: Mapping[str, Any]
    secrets: Sequence[str] = ()
    lacks: Mapping[Answer, str] = field(default_factory=dict)
    rendered: Callable[[Event], bytes] = attrgetter("body")


_under_test: ContextVar[set["asyncio.Task[Any]"] | None] = ContextVar("_under_test", default=None)


class SinkConformance:
    """The suite. Each test takes the rig alone, so that it can be called by hand as well."""

    pytestmark = pytest.mark.asyncio

    async def test_what_is_acknowledged_has_arrived(self, rig: Rig) -> None:
        event = sample_event("failed")
        await _send(rig, event)
        assert list(await rig.far_end.received()) == [rig.rendered(event)], (
            "send returned, and the far end has not this event"
        )

    async def test_nothing_is_acknowledged_while_the_far_end_is_silent(self, rig: Rig) -> None:
        _needs(rig, "hang")
        rig.far_end.answers("hang")
        sending = asyncio.ensure_future(rig.sink.send([sample_event()]))
        try:
            await _within(rig.far_end.reached())
            await asyncio.wait([sending], timeout=SILENCE)
            assert not sending.done() or sending.exception(), "send returned, and the far end has not answered"
        finally:
            await _stop(sending)
            rig.far_end.answers("taken")

    async def test_the_bytes_arrive_unchanged(self, rig: Rig) -> None:
        awkward = 'ALIGN "x" \\ é 中 \u2028 𝄞 <&> %s ${HOME} \x7f\n\t'
        events = [
            sample_event("failed", run_id="1", status_message=awkward, name=awkward),
            sample_event("completed", run_id="2", tags={"é": ""}),
            sample_event("blind"),
        ]
        for event in events:
            await _send(rig, event)
        assert list(await rig.far_end.received()) == list(map(rig.rendered, events)), "the bytes were changed"

    async def test_every_type_of_event_can_be_sent(self, rig: Rig) -> None:
        events = [sample_event(kind) for kind in SAMPLE_TYPES]
        for event in events:
            await _send(rig, event)
        assert list(await rig.far_end.received()) == list(map(rig.rendered, events))

    async def test_an_event_with_fields_left_out_is_sent_as_it_was_given(self, rig: Rig) -> None:
        planted: Mapping[str, Any] = {
            "name": "planted-1",
            "tags": {"planted-2": "planted-3"},
            "status_message": "planted-4",
        }
        event = sample_event("failed", **planted).without(list(planted))
        await _send(rig, event)
        (body,) = await rig.far_end.received()
        assert body == rig.rendered(event), "a field that was left out was put back, or something else was changed"
        assert b"planted" not in body, "a field that was left out is sent"

    async def test_a_far_end_that_is_down_is_a_reason_to_retry(self, rig: Rig) -> None:
        _needs(rig, "down")
        rig.far_end.answers("down")
        assert not isinstance(await _failure(rig), Rejected), (
            "a far end that is down is mended, its events are not dead"
        )

    async def test_a_far_end_that_breaks_off_is_a_reason_to_retry(self, rig: Rig) -> None:
        _needs(rig, "reset")
        rig.far_end.answers("reset")
        assert not isinstance(await _failure(rig), Rejected), "a connection that broke says nothing of the event"

    async def test_an_event_that_is_refused_for_good_is_rejected(self, rig: Rig) -> None:
        _needs(rig, "poison")
        rig.far_end.answers("poison")
        event = sample_event()
        error = await _failure(rig, event)
        if isinstance(error, Partial):
            error = error.failures[event.id]
        assert isinstance(error, Rejected), f"an event that will never be taken is Rejected, not {error!r}"
        assert error.reason.strip(), "the dead letter says why"

    async def test_another_attempt_sends_the_same_bytes(self, rig: Rig) -> None:
        event = sample_event("failed")
        if "down" not in rig.lacks:
            rig.far_end.answers("down")
            await _failure(rig, event)
            rig.far_end.answers("taken")
        await _send(rig, event)
        await _send(rig, event)  # as after a crash between the answer and the record; FIFO far ends may drop it
        received = await rig.far_end.received()
        assert received, "nothing arrived once the far end was well again"
        assert set(received) == {rig.rendered(event)}, "an event is the same bytes at every attempt"

    async def test_a_send_that_is_cancelled_leaves_the_sink_usable(self, rig: Rig) -> None:
        interrupted, event = sample_event("failed", run_id="1"), sample_event("failed", run_id="2")
        started: set[asyncio.Task[Any]] = set()
        token = _under_test.set(started)
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        loop.set_task_factory(_noting_task)
        try:
            if "hang" in rig.lacks:
                sending = asyncio.ensure_future(rig.sink.send([interrupted]))
                await asyncio.sleep(0)
            else:
                rig.far_end.answers("hang")
                sending = asyncio.ensure_future(rig.sink.send([interrupted]))
                await _within(rig.far_end.reached())
            await _stop(sending)
        finally:
            loop.set_task_factory(before)
            _under_test.reset(token)
        rig.far_end.answers("taken")
        if left := {task for task in started if not task.done()}:
            _, left = await asyncio.wait(left, timeout=PATIENCE)
        assert not left, f"a cancelled send left tasks behind: {left}"
        await _send(rig, event)
        received = await rig.far_end.received()
        assert received, "after a cancelled send nothing arrives"
        assert received[-1] == rig.rendered(event), "after a cancelled send the next event does not arrive as it is"
        assert set(received) <= {rig.rendered(interrupted), rig.rendered(event)}, (
            "a cancelled send left something torn at the far end"
        )

    async def test_sends_at_the_same_time_do_not_mix(self, rig: Rig) -> None:
        events = [sample_event("failed", run_id=str(number), name="x" * number * 50) for number in range(1, 17)]
        await _within(asyncio.gather(*(rig.sink.send([event]) for event in events)))
        assert sorted(await rig.far_end.received()) == sorted(map(rig.rendered, events))

    async def test_a_batch_arrives_whole_and_in_order(self, rig: Rig) -> None:
        size = getattr(rig.sink, "batch_size", 1)
        assert size >= 1, "batch_size is the number of events that one send takes at most"
        events = [sample_event("failed", run_id=str(number)) for number in range(1, size + 1)]
        await _send(rig, *events)
        assert list(await rig.far_end.received()) == list(map(rig.rendered, events))

    async def test_the_settings_refuse_unknown_keys(self, rig: Rig) -> None:
        model = rig.sink.settings_model
        model.model_validate(dict(rig.table))
        with pytest.raises(ValidationError) as caught:
            model.model_validate({**rig.table, "no_such_key": 1})
        assert "no_such_key" in str(caught.value)

    async def test_every_key_of_the_settings_is_explained(self, rig: Rig) -> None:
        fields = rig.sink.settings_model.model_fields
        silent = [name for name, info in fields.items() if not (info.description or "").strip()]
        assert not silent, f"no description: {', '.join(silent)}"

    async def test_no_secret_is_shown(self, rig: Rig) -> None:
        model = rig.sink.settings_model
        settings = model.model_validate(dict(rig.table))
        shown = [repr(rig.sink), str(rig.sink), repr(settings), str(settings), settings.model_dump_json()]
        planted = [key for key, value in rig.table.items() if any(secret in str(value) for secret in rig.secrets)]
        for wrong in ({**rig.table, "no_such_key": 1}, *({**rig.table, key: [[rig.table[key]]]} for key in planted)):
            with pytest.raises(ValidationError) as caught:
                model.model_validate(wrong)
            shown.append(str(caught.value))
        with _listening() as said:
            await _send(rig, sample_event())
            for answer in ("down", "poison", "reset"):
                if answer in rig.lacks:
                    continue
                rig.far_end.answers(answer)
                error = await _failure(rig)
                shown += [repr(error), *traceback.format_exception(error)]
        rig.far_end.answers("taken")
        for secret in rig.secrets:
            assert not [text for text in (*shown, *said) if secret in text], "a secret is shown"

    async def test_a_probe_sends_nothing(self, rig: Rig) -> None:
        probe = getattr(rig.sink, "probe", None)
        if probe is not None:
            await _within(probe())
        assert list(await rig.far_end.received()) == [], "a probe must not send"

    async def test_closing_is_possible_at_any_time_and_twice(self, rig: Rig) -> None:
        close = getattr(rig.sink, "close", None)
        await _send(rig, sample_event())
        if close is not None:
            await _within(close())
            await _within(close())


def _needs(rig: Rig, answer: Answer) -> None:
    if answer in rig.lacks:
        pytest.skip(f"{type(rig.sink).__name__}: no far end that answers {answer}: {rig.lacks[answer]}")


async def _send(rig: Rig, *events: Event) -> None:
    await _within(rig.sink.send(events))


async def _failure(rig: Rig, *events: Event) -> Exception:
    """What a send raises that cannot succeed; if it returns, it has lied."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever it is: the caller looks at it
        await _within(rig.sink.send(events or [sample_event()]))
    assert not isinstance(caught.value, _TooLong), "send did not come back from a far end that refused"
    return caught.value


class _TooLong(AssertionError):
    """Ours, to be told from a TimeoutError of the sink."""


async def _within(doing: Any) -> Any:
    task = asyncio.ensure_future(doing)
    try:
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        if not done:
            raise _TooLong(f"nothing happened in {PATIENCE:g} seconds")
        return await task
    finally:
        await _stop(task)


async def _stop(task: "asyncio.Future[Any]") -> None:
    """Cancel, and wait for the end, whatever it is."""
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await asyncio.wait_for(task, PATIENCE)


def _noting_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
    """A task factory that notes the tasks that the sink starts: they inherit the context that it was called in."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
    if (noted := _under_test.get()) is not None:
        noted.add(task)
    return task


class _listening(logging.Handler):  # noqa: N801  # a context manager
    """Everything that is logged meanwhile, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))

    def __enter__(self) -> list[str]:
        self._level = logging.root.level
        logging.root.addHandler(self)
        logging.root.setLevel(logging.DEBUG)
        return self.said

    def __exit__(self, *error: object) -> None:
        logging.root.removeHandler(self)
        logging.root.setLevel(self._level)
