"""The filters of templates: some of Jinja2's, which give no more than they get, and some of our own; all counted."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from jinja2 import Undefined, pass_context
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import Context
from markupsafe import Markup, escape

from poller.sinks.templating.bounds import (
    LONGEST_TEXT,
    MOST_OUTPUT,
    TooMuchError,
    bounded,
    kind_of,
    spend,
    steps,
    written,
)

_PLAIN_FILTERS: Final = (
    "abs", "capitalize", "count", "dictsort", "filesizeformat", "first", "float", "int", "items", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round", "select", "selectattr", "sort",
    "string", "sum", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
)  # fmt: skip
"""Filters of Jinja2 that give no more than they get."""


def _filter(plain: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja2, with what it does counted, and what it makes bounded."""
    asks_for = getattr(plain, "jinja_pass_arg", None)

    @pass_context
    def counted(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        spend(context, value, *args)
        if isinstance(value, Iterable) and not isinstance(value, str | Mapping | Undefined):
            value = list(steps(context, value, 1))
        given = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
        first = [given[asks_for.name]] if asks_for is not None else []
        made = plain(*first, value, *args, **kwargs)
        if isinstance(made, Iterator):
            made = list(steps(context, made, 1))
        return bounded(str(made) if isinstance(made, Markup) else made)

    return counted


@pass_context
def _default(context: Context, value: Any, default: Any = "", boolean: bool = False) -> Any:
    """`default` in place of what is not there, and of null; with `boolean` of everything that is false."""
    missing = isinstance(value, Undefined) or value is None
    return default if missing or (boolean and not value) else value


@pass_context
def _join(context: Context, values: Any, between: str = "", attribute: Any = None) -> str:
    if isinstance(values, Undefined):
        str(values)
    if attribute is not None:
        values = [context.environment.getitem(one, attribute) for one in values]
    texts: list[str] = []
    size = 0
    for one in steps(context, values, 1):
        texts.append(written(one))
        size += len(texts[-1]) + len(between)
        spend(context, texts[-1])
        if size > LONGEST_TEXT + len(between):
            raise TooMuchError(f"makes a text of more than {LONGEST_TEXT // 1024} KiB")
    return between.join(texts)


@pass_context
def _replace(context: Context, value: Any, old: str, new: str) -> str:
    text = written(value)
    spend(context, text)
    places = text.count(old)
    if len(text) + places * (len(new) - len(old)) > LONGEST_TEXT:
        raise TooMuchError(f"makes a text of more than {LONGEST_TEXT // 1024} KiB")
    return text.replace(old, new)


@pass_context
def _escape(context: Context, value: Any) -> str:
    spend(context, text := written(value))
    return str(bounded(str(escape(text))))


@pass_context
def _tojson(context: Context, value: Any, indent: int | None = None) -> str:
    """As JSON, for bodies that are JSON; unlike Jinja2's own, nothing is escaped that only HTML needs."""

    def refuse(inner: Any) -> Any:
        if isinstance(inner, Undefined):
            str(inner)
        raise TypeError(f"{kind_of(inner)} is no JSON")

    made = json.dumps(value, ensure_ascii=False, default=refuse, indent=min(indent, 8) if indent else None)
    spend(context, made)
    return str(bounded(made, MOST_OUTPUT))


@pass_context
def counted(context: Context, values: Any, cost: int) -> Iterator[Any]:
    """What a loop goes through; each time round costs what is in it."""
    if isinstance(values, Undefined):
        str(values)
    if not isinstance(values, Iterable):
        raise TypeError(f"{kind_of(values)} is nothing to go through")
    return steps(context, values, cost)


@pass_context
def finalize(context: Context, value: Any) -> str:
    text = written(value)
    spend(context, text)
    return text


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: _filter(JINJA_FILTERS[name]) for name in _PLAIN_FILTERS},
    "default": _default,
    "d": _default,
    "join": _join,
    "replace": _replace,
    "escape": _escape,
    "e": _escape,
    "tojson": _tojson,
}
"""Those that a template may use, by name."""
