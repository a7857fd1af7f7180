"""What a far end said, for an error text: on one line, without secrets, not too long."""

from collections.abc import Iterable
from typing import Final

from poller.core.excerpts import MASK
from poller.redaction import SHORTEST_SECRET

EXCERPT: Final = 300
"""Characters of what a far end said that an error shows."""


def hidden_texts(secrets: Iterable[str]) -> tuple[str, ...]:
    """Secrets as they are looked for: none that is too short, the longest first, so that no part of one is left."""
    return tuple(sorted({text for text in secrets if len(text) >= SHORTEST_SECRET}, key=len, reverse=True))


def one_line(text: str, hidden: Iterable[str] = ()) -> str:
    """Text of a far end as one line: without the secrets in it (`hidden_texts`), without control characters."""
    for secret in hidden:
        text = text.replace(secret, MASK)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def shown(text: str, hidden: Iterable[str]) -> str:
    """The beginning of what a far end said, as `one_line` gives it."""
    line = one_line(text, hidden)
    return line if len(line) <= EXCERPT else line[:EXCERPT] + "…"
