"""How much a template may do. What it does is counted while it is rendered, and refused beyond a bound.

The count depends on the template and on the event alone, so that another attempt ends in the same way.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from jinja2 import Undefined
from jinja2.runtime import Context
from markupsafe import Markup

LONGEST_TEMPLATE: Final = 64 * 1024
LONGEST_TEXT: Final = 64 * 1024
"""Characters that an expression may make, one at a time."""
MOST_OUTPUT: Final = 256 * 1024
"""Bytes of what is rendered: as much as SNS, SQS and EventBridge take."""
MOST_WORK: Final = 100_000
"""Steps of one rendering; a template of a hundred lines takes hundreds. All of them take about a second."""
MOST_LISTED: Final = 200
"""Items that a template may write out in lists and tables of its own."""
DEEPEST_LOOP: Final = 2
LARGEST_NUMBER: Final = 2**63

WORK: Final = "(work)"
"""Under this name, which no template can say, a rendering keeps what it has spent."""


class TemplateError(Exception):
    """A template that is wrong, or fails with an event: why, and in which of its lines, from 1, if that is known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


class TooMuchError(Exception):
    """Beyond a bound."""


class Work:
    """What one rendering has spent, in steps."""

    def __init__(self) -> None:
        self.spent = 0

    def spend(self, steps: int) -> None:
        self.spent += steps
        if self.spent > MOST_WORK:
            raise TooMuchError(f"takes more than {MOST_WORK:,} steps")


def spend(context: Context, *values: Any) -> None:
    """A step, and more of them for long texts."""
    longest = max((len(value) for value in values if isinstance(value, str)), default=0)
    context.parent[WORK].spend(1 + longest // 64)


def steps(context: Context, values: Iterable[Any], cost: int) -> Iterator[Any]:
    """The values, each of which costs so many steps."""
    work: Work = context.parent[WORK]
    for value in values:
        work.spend(cost)
        yield value


def bounded(value: Any, most: int = LONGEST_TEXT) -> Any:
    """The value. Raises: TooMuchError if it is a text of more characters."""
    if isinstance(value, str) and len(value) > most:
        raise TooMuchError(f"makes a text of more than {most // 1024} KiB")
    return value


def kind_of(value: Any) -> str:
    """What a value is, in words for those who write templates."""
    if value is None:
        return "null"
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", dict: "a table", list: "a list"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), f"a {type(value).__name__}")


def written(value: Any) -> str:
    """A value as it stands in the output: null is nothing.  Raises: TypeError for what is no single value."""
    if isinstance(value, Markup):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Undefined):
        return str(value)
    raise TypeError(f"{kind_of(value)} cannot be written as it is; add | tojson, or name what of it")
