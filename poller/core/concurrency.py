"""How many sends of one sink may be under way at once: learned, between one and what the sink is configured to.

While the far end says that it is too much (no answer in time, 429 or 503, Retry-After) the limit is halved, once for
each round trip; it grows by one for each round of acknowledgements. After an outage it begins at one and grows with
each acknowledgement, so that a far end that comes back is not buried under what it missed (slow start, as in RFC 5681).
"""

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The limit of one sink. Below `threshold` it grows with each acknowledgement; `cut_at` is when it was cut last."""

    ceiling: int
    limit: float
    threshold: float
    cut_at: datetime | None = None

    @property
    def allowed(self) -> int:
        """Sends that may be under way at once."""
        return int(self.limit)


def open_wide(ceiling: int) -> Concurrency:
    """As it starts: at its ceiling, until the far end says otherwise."""
    return Concurrency(ceiling, limit=float(ceiling), threshold=float(ceiling))


def acknowledged(concurrency: Concurrency) -> Concurrency:
    """A send went well."""
    limit = concurrency.limit
    if limit >= concurrency.ceiling:
        return concurrency
    more = 1.0 if limit < concurrency.threshold else 1.0 / limit
    return replace(concurrency, limit=min(limit + more, float(concurrency.ceiling)))


def crowded(concurrency: Concurrency, now: datetime, sent_at: datetime) -> Concurrency:
    """A send that began at `sent_at` was too much for the far end: halve, unless that was done since it began."""
    if concurrency.cut_at is not None and sent_at < concurrency.cut_at:
        return concurrency
    half = max(concurrency.limit / 2, 1.0)
    return replace(concurrency, limit=half, threshold=half, cut_at=now)


def broken(concurrency: Concurrency) -> Concurrency:
    """An outage: what comes after it begins with one send, and grows fast up to half of what was."""
    return replace(concurrency, limit=1.0, threshold=max(concurrency.limit / 2, 1.0))
