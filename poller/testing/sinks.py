"""The sink conformance suite: what the dispatcher relies on in every sink, ours and other people's.

Subclass `SinkConformance` and give it a fixture `rig`: a sink, its far end, and what the transport cannot do. A rig
says so in words (`lacks`), and the tests that need it are then skipped with these words, never in silence. What fails
says what the contract asks. How: docs/writing-a-sink.md.
"""

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pytest
from pydantic import SecretStr, ValidationError

from poller.core.errors import ConfigError, Partial, Rejected, Retry
from poller.core.events import Event, bytes_of
from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.core.values import SinkSettings
from poller.ports.sinks import Preview
from poller.sinks.registry import GROUP, load_sink
from poller.testing import sending
from poller.testing.rigs import PAUSE, Answer, Rig
from poller.testing.sending import difference, failure, hanging, listening, noting_tasks, outcome, send, stop, within

SILENCE: Final = 0.2
"""Seconds for which a far end says nothing while it is watched that no sink takes this for an answer."""
BIG: Final = 300 * 1024
"""Bytes of a big event: more than SNS and SQS take, more than a pipe or a buffer holds."""
REFUSALS: Final[Sequence[Answer]] = ("down", "busy", "poison", "reset")


class SinkConformance:
    """The suite. Each test takes the rig alone, so that it can be called by hand as well."""

    pytestmark = pytest.mark.asyncio

    # what is acknowledged has arrived, as it is

    async def test_what_is_acknowledged_has_arrived(self, rig: Rig) -> None:
        event = sample_event("failed")
        await send(rig.sink, event)
        await _arrived(rig, [event], "send returned, so the event has arrived, once and as it is")

    async def test_nothing_is_acknowledged_while_the_far_end_is_silent(self, rig: Rig) -> None:
        _needs(rig, "hang")
        rig.far_end.answers("hang")
        sent = asyncio.ensure_future(rig.sink.send([sample_event()]))
        try:
            await hanging(rig, sent)
            await asyncio.wait([sent], timeout=SILENCE)
            assert not sent.done() or sent.exception(), "send returned, and the far end has not answered"
        finally:
            await stop(sent)
            rig.far_end.answers("taken")

    async def test_the_bytes_arrive_unchanged(self, rig: Rig) -> None:
        awkward = 'ALIGN "x" \\ é 中 \u2028 𝄞 <&> %s ${HOME} \x7f\n\t'
        events = [
            sample_event("failed", run_id="1", status_message=awkward, name=awkward),
            sample_event("completed", run_id="2", tags={"é": ""}),
            sample_event("blind"),
        ]
        for event in events:
            await send(rig.sink, event)
        await _arrived(rig, events, "the bytes of an event are sent as they are, whatever letters are in them")

    async def test_every_type_of_event_can_be_sent(self, rig: Rig) -> None:
        events = [sample_event(kind) for kind in SAMPLE_TYPES]
        for event in events:
            await send(rig.sink, event)
        await _arrived(rig, events, "every type of event is sent, in the order in which send is called")

    async def test_an_event_of_a_later_version_can_be_sent(self, rig: Rig) -> None:
        for event in (events := _of_a_later_version()):
            await send(rig.sink, event)
        await _arrived(rig, events, "an event of a type, and with fields, that nobody knows yet is sent like any other")

    async def test_an_event_with_fields_left_out_is_sent_as_it_was_given(self, rig: Rig) -> None:
        planted: Mapping[str, Any] = {
            "name": "planted-1",
            "tags": {"planted-2": "planted-3"},
            "status_message": "planted-4",
        }
        event = sample_event("failed", **planted).without(list(planted))
        await send(rig.sink, event)
        await _arrived(rig, [event], "an event is sent as it was given, without what was left out")

    async def test_a_big_event_arrives_whole_or_is_rejected(self, rig: Rig) -> None:
        event = sample_event("failed", status_message="é" * (BIG // 2))
        error = _of(await outcome(rig.sink, event), event)
        if error is None:
            await _arrived(rig, [event], f"an event of {BIG:,} bytes arrives whole")
            return
        assert isinstance(error, Rejected), f"an event that will always be too big is Rejected, not {error!r}"
        assert error.reason.strip(), "the dead letter says why"

    async def test_sends_at_the_same_time_do_not_mix(self, rig: Rig) -> None:
        events = [sample_event("failed", run_id=str(number), name="x" * number * 50) for number in range(1, 17)]
        await within(asyncio.gather(*(rig.sink.send([event]) for event in events)))
        expected, received = sorted(map(rig.rendered, events)), sorted(await rig.far_end.received())
        if received != expected:
            pytest.fail(f"sends of different runs go on side by side, and do not mix: {difference(expected, received)}")

    # what did not arrive is told by what it means

    async def test_a_far_end_that_is_down_is_a_reason_to_retry(self, rig: Rig) -> None:
        _needs(rig, "down")
        rig.far_end.answers("down")
        error = await failure(rig.sink, event := sample_event())
        assert not isinstance(_of(error, event), Rejected), (
            f"a far end that is down is mended, its events are not dead; and not {error!r}"
        )

    async def test_a_far_end_that_breaks_off_is_a_reason_to_retry(self, rig: Rig) -> None:
        _needs(rig, "reset")
        rig.far_end.answers("reset")
        error = await failure(rig.sink, event := sample_event())
        assert not isinstance(_of(error, event), Rejected), (
            f"a connection that broke says nothing of the event, which is not dead; and not {error!r}"
        )

    async def test_a_far_end_that_asks_for_a_pause_is_given_it(self, rig: Rig) -> None:
        _needs(rig, "busy")
        rig.far_end.answers("busy")
        error = _of(await failure(rig.sink, event := sample_event()), event)
        assert isinstance(error, Retry), f"a far end that says when to come again is a Retry, not {error!r}"
        assert error.after == PAUSE, (
            f"the far end asks for {PAUSE.total_seconds():g} s, and the sink says Retry(after={error.after!r})"
        )

    async def test_an_event_that_is_refused_for_good_is_rejected(self, rig: Rig) -> None:
        _needs(rig, "poison")
        rig.far_end.answers("poison")
        error = _of(await failure(rig.sink, event := sample_event()), event)
        assert isinstance(error, Rejected), f"an event that will never be taken is Rejected, not {error!r}"
        assert error.reason.strip(), "the dead letter says why"

    async def test_another_attempt_sends_the_same_bytes(self, rig: Rig) -> None:
        event = sample_event("failed")
        if "down" not in rig.lacks:
            rig.far_end.answers("down")
            await failure(rig.sink, event)
            rig.far_end.answers("taken")
        await send(rig.sink, event)
        await send(rig.sink, event)  # as after a crash between the answer and the record; FIFO far ends may drop it
        received = await rig.far_end.received()
        assert received, "nothing arrived once the far end was well again"
        if others := [body for body in received if body != rig.rendered(event)]:
            pytest.fail(f"an event is the same bytes at every attempt: {difference([rig.rendered(event)], others)}")

    # batches

    async def test_a_batch_arrives_whole_and_in_order(self, rig: Rig) -> None:
        events = _batch(_batch_size(rig))
        await send(rig.sink, *events)
        await _arrived(rig, events, "send returned, so all of its batch has arrived, in order")

    async def test_of_a_batch_what_is_not_named_as_failed_has_arrived(self, rig: Rig) -> None:
        size = min(_batch_size(rig), 5)
        if size == 1:
            pytest.skip(f"{type(rig.sink).__name__} takes one event at a time: it has no batch_size")
        _needs(rig, "partial")
        rig.far_end.answers("partial")
        events = {event.id: event for event in _batch(size)}
        error = await failure(rig.sink, *events.values())
        assert isinstance(error, Partial | Rejected), (
            "of a batch some events are refused for good: Partial names them, or Rejected has each sent by itself; "
            f"with {error!r} one of them holds up the others"
        )
        failures = error.failures if isinstance(error, Partial) else dict.fromkeys(events, error)
        assert failures.keys() <= events.keys(), "Partial names what is not in the batch: its keys are ids of events"
        received = set(await rig.far_end.received())
        silent = [
            number
            for number, event in enumerate(events.values(), 1)
            if event.id not in failures and rig.rendered(event) not in received
        ]
        assert not silent, f"what Partial does not name counts as acknowledged, and has not arrived: {silent} of {size}"
        later = [one for one in failures.values() if not isinstance(one, Rejected)]
        assert not later, f"an event that will never be taken is Rejected, in a batch too, not {later[0]!r}"

    # a send that is ended

    async def test_a_send_that_is_cancelled_ends_and_acknowledges_nothing(self, rig: Rig) -> None:
        _needs(rig, "hang")
        rig.far_end.answers("hang")
        sent = asyncio.ensure_future(rig.sink.send([sample_event()]))
        try:
            await hanging(rig, sent)
            await stop(sent)
        finally:
            rig.far_end.answers("taken")
        assert sent.cancelled() or sent.exception(), (
            "send returned when it was cancelled, which acknowledges the event: let the cancellation through"
        )

    async def test_a_send_that_is_cancelled_leaves_the_sink_usable(self, rig: Rig) -> None:
        interrupted, event = sample_event("failed", run_id="1"), sample_event("failed", run_id="2")
        with noting_tasks() as started:
            if "hang" in rig.lacks:
                sent = asyncio.ensure_future(rig.sink.send([interrupted]))
                await asyncio.sleep(0)
            else:
                rig.far_end.answers("hang")
                sent = asyncio.ensure_future(rig.sink.send([interrupted]))
                await hanging(rig, sent)
            await stop(sent)
        rig.far_end.answers("taken")
        if left := {task for task in started if not task.done()}:
            _, left = await asyncio.wait(left, timeout=sending.PATIENCE)
        assert not left, f"a cancelled send left tasks behind: {left}"
        await send(rig.sink, event)
        received = await rig.far_end.received()
        assert received, "after a cancelled send nothing arrives"
        assert received[-1] == rig.rendered(event), "after a cancelled send the next event does not arrive as it is"
        assert set(received) <= {rig.rendered(interrupted), rig.rendered(event)}, (
            "a cancelled send left something torn at the far end"
        )

    # the settings

    async def test_the_type_is_found_by_its_entry_point(self, rig: Rig) -> None:
        found, problem = _claimed(str(rig.table["type"]))
        assert not problem, f'{problem}; name it in [project.entry-points."{GROUP}"], and install the package'
        assert isinstance(rig.sink, found), f"the entry point leads to {found!r}, and {rig.sink!r} is none"

    async def test_the_settings_refuse_unknown_keys(self, rig: Rig) -> None:
        model = rig.sink.settings_model
        model.model_validate(dict(rig.table))
        said = _refusal(model, {**rig.table, "no_such_key": 1})
        assert said is not None, "a key that there is not is taken: a misspelt one would do nothing, and say nothing"
        assert "no_such_key" in said, "the error names the key that there is not"

    async def test_every_key_of_the_settings_is_explained(self, rig: Rig) -> None:
        fields = rig.sink.settings_model.model_fields
        silent = [name for name, info in fields.items() if not (info.description or "").strip()]
        assert not silent, f"no description: {', '.join(silent)}"

    async def test_no_secret_is_shown(self, rig: Rig) -> None:
        model = rig.sink.settings_model
        settings = model.model_validate(dict(rig.table))
        unplanted = [key for key, value in settings if isinstance(value, SecretStr) and not _holds(value, rig.secrets)]
        assert not unplanted, f"secrets are in the rig's table that its `secrets` do not name: {', '.join(unplanted)}"
        shown = [
            ("the sink's repr", repr(rig.sink)),
            ("the sink's str", str(rig.sink)),
            ("the settings' repr", repr(settings)),
            ("the settings' str", str(settings)),
            ("the settings as JSON", settings.model_dump_json()),
        ]
        planted = [key for key, value in rig.table.items() if any(secret in str(value) for secret in rig.secrets)]
        wrong = {key: {**rig.table, key: [[rig.table[key]]]} for key in planted}
        for key, table in {"no_such_key": {**rig.table, "no_such_key": 1}, **wrong}.items():
            said = _refusal(model, table)
            shown.append((f"the error about a wrong {key} (hide_input_in_errors hides it)", said or ""))
        if (preview := getattr(rig.sink, "preview", None)) is not None:
            shown.append(("the preview", repr(preview(sample_event()))))
        with listening() as lines:
            await send(rig.sink, sample_event())
            for answer in REFUSALS:
                if answer in rig.lacks:
                    continue
                rig.far_end.answers(answer)
                error = await failure(rig.sink, sample_event(run_id=answer))  # none that the far end has already
                shown.append((f"the error, or its traceback, of a far end that is told {answer}", repr(error)))
                shown.append((shown[-1][0], "".join(traceback.format_exception(error))))
        rig.far_end.answers("taken")
        shown += [("the log", line) for line in lines]
        places = sorted({place for place, text in shown if any(secret in text for secret in rig.secrets)})
        if places:
            pytest.fail(f"a secret is shown: {'; '.join(places)}")

    # what else a sink may have

    async def test_a_probe_sends_nothing(self, rig: Rig) -> None:
        probe = getattr(rig.sink, "probe", None)
        if probe is None:
            pytest.skip(f"{type(rig.sink).__name__} has no probe: `check --probe` cannot try it")
        await within(probe())
        await _arrived(rig, [], "a probe asks whether something could be sent, and sends nothing")

    async def test_a_preview_can_be_shown_of_every_event(self, rig: Rig) -> None:
        preview = getattr(rig.sink, "preview", None)
        if preview is None:
            pytest.skip(f"{type(rig.sink).__name__} has no preview: `render` shows the event that it is given")
        for event in [*map(sample_event, SAMPLE_TYPES), *_of_a_later_version()]:
            shown = preview(event)
            assert isinstance(shown, Preview), f"`preview` returns a Preview, not {shown!r}"
            assert shown.body.decode(), "the body of a preview is text"
        await _arrived(rig, [], "a preview sends nothing")

    async def test_closing_is_possible_at_any_time_and_twice(self, rig: Rig) -> None:
        close = _close(rig)
        await send(rig.sink, sample_event())
        await within(close())
        await within(close())

    async def test_a_sink_that_has_sent_nothing_can_be_closed(self, rig: Rig) -> None:
        await within(_close(rig)())


def _needs(rig: Rig, answer: Answer) -> None:
    if answer in rig.lacks:
        pytest.skip(f"{type(rig.sink).__name__}: no far end that answers {answer}: {rig.lacks[answer]}")


async def _arrived(rig: Rig, events: Sequence[Event], asks: str) -> None:
    __tracebackhide__ = True
    expected, received = [rig.rendered(event) for event in events], list(await rig.far_end.received())
    if received != expected:
        pytest.fail(f"{asks}: {difference(expected, received)}")


def _of(error: Exception | None, event: Event) -> Exception | None:
    """What an error says of one event."""
    return error.failures.get(event.id) if isinstance(error, Partial) else error


def _batch_size(rig: Rig) -> int:
    size = getattr(rig.sink, "batch_size", 1)
    assert isinstance(size, int), f"batch_size is the number of events that one send takes at most, not {size!r}"
    assert size >= 1, f"batch_size is the number of events that one send takes at most, not {size}"
    return size


def _batch(size: int) -> list[Event]:
    """Events of as many runs."""
    return [sample_event("failed", run_id=str(number)) for number in range(1, size + 1)]


def _of_a_later_version() -> list[Event]:
    """Of a run, and of something else, as this version cannot tell it."""
    known = sample_event("running", run_id="7").attributes
    data = {**known["data"], "status": "ARCHIVED", "skipped_statuses": ["PAUSED"], "archive": {"tiers": ["cold"]}}
    archived = {**known, "type": "healthomics.run.archived", "data": data}
    other = {**known, "id": "2c1b9f58-07a4-5d3c-8f0b-3e5f2f6d9a10", "type": "healthomics.workflow.published"}
    published = {**other, "source": "arn:aws:omics:us-east-1:123456789012:workflow/7", "data": {"version": 2}}
    del published["sequence"]
    return [Event(bytes_of(one)) for one in (archived, published)]


def _claimed(name: str) -> tuple[type[Any], str]:
    """The class that a type leads to, or what is wrong with it."""
    try:
        return load_sink(name), ""
    except ConfigError as error:
        return type(None), str(error)


def _refusal(model: type[SinkSettings], table: Mapping[str, Any]) -> str | None:
    """What the settings say against a table; None if they take it."""
    try:
        model.model_validate(table)
    except ValidationError as error:
        return str(error)
    return None


def _holds(value: SecretStr, secrets: Sequence[str]) -> bool:
    return any(secret in value.get_secret_value() for secret in secrets)


def _close(rig: Rig) -> Any:
    close = getattr(rig.sink, "close", None)
    if close is None:
        pytest.skip(f"{type(rig.sink).__name__} has no close: it opens nothing that is not the toolbox's")
    return close
