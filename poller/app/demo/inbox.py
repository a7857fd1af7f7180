"""What the demo's receiver has: the events that `omics-poller listen` would show as accepted, with their times."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from poller.app.receiver.receiving import Receipt
from poller.core.events import Event

PATH: Final = "/hooks/healthomics"


@dataclass(frozen=True, slots=True)
class Received:
    """An event whose signature was right, and when it was acknowledged."""

    event: Event
    at: datetime


@dataclass(slots=True)
class Inbox:
    """What has come in."""

    received: list[Received] = field(default_factory=list)
    forged: int = 0
    repeated: int = 0

    async def take(self, receipt: Receipt) -> None:
        """Take what became of one request."""
        if receipt.verdict == "accepted" and receipt.message is not None:
            self.received.append(Received(Event(receipt.message.body), receipt.at))
        elif receipt.verdict == "repeated":
            self.repeated += 1
        else:
            self.forged += 1
