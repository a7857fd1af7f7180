"""A send that is to fail, and what the sink says of it."""

import pytest

from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.core.samples import sample_event
from poller.ports.sinks import Sink

EVENT = sample_event("failed")


async def failure(sink: Sink, event: Event = EVENT) -> Retry | Rejected:
    """What sending an event raises; it has to be a word of the contract."""
    with pytest.raises((Retry, Rejected)) as caught:
        await sink.send([event])
    assert isinstance(caught.value, Retry | Rejected)
    return caught.value
