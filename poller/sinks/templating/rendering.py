"""A template, compiled and rendered: Jinja2's sandbox with a part of its language, and all work and output bounded."""

import difflib
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, TracebackType
from typing import Any, Final

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import SandboxedEnvironment

from poller.sinks.templating.bounds import (
    LARGEST_NUMBER,
    LONGEST_TEMPLATE,
    MOST_OUTPUT,
    WORK,
    TemplateError,
    TooMuchError,
    Work,
    bounded,
    kind_of,
    spend,
)
from poller.sinks.templating.filters import FILTERS, counted, finalize
from poller.sinks.templating.grammar import COUNTED, check, counting

_METHODS: Final = frozenset(
    {
        "capitalize", "count", "endswith", "find", "get", "isalnum", "isalpha", "isdecimal", "isdigit", "items", "keys",
        "lower", "lstrip", "partition", "removeprefix", "removesuffix", "rfind", "rpartition", "rsplit", "rstrip",
        "split", "splitlines", "startswith", "strip", "title", "upper", "values",
    }
)  # fmt: skip
_NUMBERS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
_NULL: Final = re.compile(r"(object of type )?'NoneType'( object)?")
_MISSING: Final = re.compile(r"has no (?:attribute|element) '?(\w+)'?")


class Rendering:
    """A compiled template. Args: `variables` are the names that it may use.

    Raises: TemplateError if it is none, or says what it must not.
    """

    def __init__(self, text: str, variables: Iterable[str]) -> None:
        if len(text) > LONGEST_TEMPLATE:
            raise TemplateError(f"is longer than {LONGEST_TEMPLATE // 1024} KiB")
        try:
            tree = _ENVIRONMENT.parse(text)
            check(tree, frozenset(variables))
            code = _ENVIRONMENT.compile(counting(tree))
            if not isinstance(code, CodeType):
                raise TemplateError("cannot be compiled")
            self._template = Template.from_code(_ENVIRONMENT, code, {})
        except TemplateSyntaxError as error:
            raise TemplateError(_said(error), error.lineno) from None
        except (RecursionError, MemoryError, SyntaxError):
            raise TemplateError("is nested too deeply") from None

    def __call__(self, variables: Mapping[str, Any]) -> str:
        """What the template makes of these values. Raises: TemplateError."""
        context = self._template.new_context({**variables, WORK: Work()})
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._template.root_render_func(context):
                pieces.append(piece)
                size += len(piece)
                if size > MOST_OUTPUT:
                    raise TooMuchError(f"makes more than {MOST_OUTPUT // 1024} KiB")
        except _FAILURES as error:
            raise TemplateError(_said(error, variables), self._line_of(error.__traceback__)) from None
        return "".join(pieces)

    def _line_of(self, trace: TracebackType | None) -> int | None:
        """The line of the template in which it failed."""
        line = None
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self._template.filename:
                line = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return line


_FAILURES: Final = (
    *(JinjaError, TooMuchError, TypeError, ValueError, ArithmeticError, LookupError),
    *(AttributeError, RecursionError, MemoryError),
)
"""How what a template says can fail; anything else is a fault of ours."""


class _Sandbox(SandboxedEnvironment):
    intercepted_binops = frozenset({*_NUMBERS, "**"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Of a table its entry first: a field or a tag may be called as a method is."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        allowed = not callable(value) or attr in _METHODS or isinstance(obj, LoopContext)
        return allowed and super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        owner = getattr(obj, "__self__", None)
        name = getattr(obj, "__name__", "")
        return (isinstance(owner, str | dict) and name in _METHODS) or (
            isinstance(owner, LoopContext) and name in ("cycle", "changed")
        )

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Raises once it is used."""
        return self.undefined(f"{attribute} is not possible here", obj, attribute, SecurityError)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(obj, Undefined):
            str(obj)
        if not self.is_safe_callable(obj):
            raise SecurityError(f"{getattr(obj, '__name__', 'this')} cannot be called here")
        spend(context, getattr(obj, "__self__", None))
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        spend(context, left, right)
        if isinstance(left, Undefined) or isinstance(right, Undefined):
            return _NUMBERS["+"](left, right)  # which says what is undefined
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return bounded(left + right)
        if operator not in _NUMBERS:
            raise SecurityError(f"{operator} is not possible here")
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            hint = "; ~ joins texts" if operator == "+" else ""
            raise TypeError(f"{operator} goes with numbers, and not with {kind_of(left)} and {kind_of(right)}{hint}")
        if max(abs(left), abs(right)) > LARGEST_NUMBER:
            raise TooMuchError("reckons with a number that is too large")
        return _NUMBERS[operator](left, right)


def _environment() -> _Sandbox:
    made = _Sandbox(undefined=StrictUndefined, finalize=finalize, autoescape=False, keep_trailing_newline=False)
    made.globals.clear()
    made.filters = {**FILTERS, COUNTED: counted}
    return made


_ENVIRONMENT: Final = _environment()


def _said(error: Exception, variables: Mapping[str, Any] | None = None) -> str:
    """What went wrong, in words for those who write templates."""
    text = str(error.message if isinstance(error, TemplateSyntaxError) and error.message else error).rstrip(".")
    if isinstance(error, UndefinedError):
        missing = _MISSING.search(text)
        if missing is not None and "'None'" in text:
            return f'null has no "{missing[1]}"'
        if missing is not None:
            near = difflib.get_close_matches(missing[1], _names(variables or {}), n=1)
            return f'there is no "{missing[1]}" here' + (f'; did you mean "{near[0]}"?' if near else "")
    if isinstance(error, ZeroDivisionError):
        return "divides by zero"
    return _NULL.sub("null", text) or type(error).__name__


def _names(variables: Mapping[str, Any]) -> list[str]:
    """Names that can be meant: of fields, down to the second level."""
    found: list[str] = []
    for value in variables.values():
        if isinstance(value, Mapping):
            found += map(str, value)
    return found
