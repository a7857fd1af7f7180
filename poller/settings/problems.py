"""What is wrong with a configuration, before its place in the file is known."""

from dataclasses import dataclass

from poller.settings.lines import KeyPath


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: at which key, in one sentence without its place; and the other keys it is about.

    Values in the sentence stand in quotes or brackets: they are left out where they did not come from the file itself.
    """

    path: KeyPath
    sentence: str
    others: tuple[KeyPath, ...] = ()


@dataclass(frozen=True, slots=True)
class Doubt:
    """What works as it is written, and is most likely not what was meant: in one sentence, and at which key."""

    sentence: str
    path: KeyPath = ()
