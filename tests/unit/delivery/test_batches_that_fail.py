"""A batch that fails as one is one failure of the far end: neither an outage by itself, nor many at once."""

from collections.abc import Sequence

import anyio
import pytest

from poller.core.errors import Partial, Retry
from poller.core.events import Event
from poller.core.retries import OPENS_AFTER
from tests.unit.delivery.rig import ScriptedSink, outlet, rigged, steps, until
from tests.unit.polling.simulation import virtually


@pytest.mark.parametrize("in_part", [False, True], ids=["whole", "in part"])
def test_one_request_that_fails_is_no_outage_however_many_events_were_in_it(in_part: bool) -> None:
    async def body() -> None:
        async with rigged(chance=lambda: 0.999) as rig:

            def answer(events: Sequence[Event]) -> None:
                if len(sink.tried) == 1:
                    raise Partial({event.id: Retry("busy") for event in events[1:]}) if in_part else Retry("busy")

            sink = ScriptedSink(answer, batch_size=10)
            async with rig.telling(outlet(sink, concurrency=1)) as dispatcher:
                await rig.tell([draft for run in range(10) for draft in steps(str(run), 1)])
                await until(lambda: sink.tried)
                judge = dispatcher.workers["hook"].judge
                await until(lambda: len(sink.taken) == 10 - in_part, seconds=2)
                assert not judge.breaker.open

    virtually(body)


def test_as_many_requests_that_fail_as_single_events_are_an_outage() -> None:
    async def body() -> None:
        async with rigged() as rig:

            async def answer(events: Sequence[Event]) -> None:
                await anyio.sleep(0.1)
                raise Retry("down")

            sink = ScriptedSink(answer, batch_size=10)
            async with rig.telling(outlet(sink, concurrency=1)) as dispatcher:
                await rig.tell([draft for run in range(100) for draft in steps(str(run), 1)])
                judge = dispatcher.workers["hook"].judge
                await until(lambda: judge.breaker.open)
                assert OPENS_AFTER <= len(sink.tried) <= OPENS_AFTER + 1, "one may begin before the fifth is judged"

    virtually(body)
