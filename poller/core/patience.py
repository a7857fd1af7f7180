"""How long to wait for an answer before asking again: learned from how long answers take.

After RFC 6298 (TCP's retransmission timer): the smoothed time and its deviation give the limit, and each wait in vain
doubles it until an answer comes. One page that hangs must not hold up all that is read after it.
"""

from dataclasses import dataclass, replace
from typing import Final

LEAST: Final = 3.0
"""Seconds that are always granted: a service that answers in 60 ms may well take a second now and then."""
MOST: Final = 20.0
FIRST: Final = 10.0
"""Seconds granted before any answer has shown how long one takes."""


@dataclass(frozen=True, slots=True)
class Patience:
    """What is known of one operation: seconds until an answer, smoothed, its deviation, and waits in vain in a row."""

    smoothed: float | None = None
    deviation: float = 0.0
    in_vain: int = 0


def limit_seconds(patience: Patience) -> float:
    """How long the next answer is waited for."""
    usual = FIRST if patience.smoothed is None else max(patience.smoothed + 8 * patience.deviation, LEAST)
    doublings: int = 2 ** min(patience.in_vain, 10)
    return min(usual * doublings, MOST)


def answered(patience: Patience, seconds: float) -> Patience:
    """An answer came after `seconds`."""
    if patience.smoothed is None:
        return Patience(seconds, seconds / 2)
    deviation = 0.75 * patience.deviation + 0.25 * abs(patience.smoothed - seconds)
    return Patience(0.875 * patience.smoothed + 0.125 * seconds, deviation)


def waited_in_vain(patience: Patience) -> Patience:
    """No answer came within the limit."""
    return replace(patience, in_vain=patience.in_vain + 1)
