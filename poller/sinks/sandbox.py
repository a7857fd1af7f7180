"""Templates that cannot hang the daemon: a part of Jinja2 in which all work and all output is bounded.

What a template may say is listed, and everything else refused when it is compiled: output, `if`, `for`, `set` and
expressions with the filters and methods below. What it does while it is rendered is counted, and refused beyond a
bound; the count depends on the template and on the event alone, so that another attempt ends in the same way.
"""

import difflib
import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, TracebackType
from typing import Any, Final, NoReturn

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, UndefinedError, meta, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.filters import FILTERS
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup, escape

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

_WORK: Final = "(work)"
"""Under this name, which no template can say, a rendering keeps what it has spent."""
_STATEMENTS: Final = (nodes.Output, nodes.If, nodes.For, nodes.Assign)
_Display = nodes.List | nodes.Tuple | nodes.Dict
_DISPLAYS: Final[tuple[type[_Display], ...]] = (nodes.List, nodes.Tuple, nodes.Dict)
_PLAIN_FILTERS: Final = (
    "abs", "capitalize", "count", "dictsort", "filesizeformat", "first", "float", "int", "items", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round", "select", "selectattr", "sort",
    "string", "sum", "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
)  # fmt: skip
"""Filters of Jinja2 that give no more than they get."""
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


class TemplateError(Exception):
    """A template that is wrong, or fails with an event: why, and in which of its lines, from 1, if that is known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


class Rendering:
    """A compiled template. Args: `variables` are the names that it may use.

    Raises: TemplateError if it is none, or says what it must not.
    """

    def __init__(self, text: str, variables: Iterable[str]) -> None:
        if len(text) > LONGEST_TEMPLATE:
            raise TemplateError(f"is longer than {LONGEST_TEMPLATE // 1024} KiB")
        try:
            tree = _ENVIRONMENT.parse(text)
            _check(tree, frozenset(variables))
            code = _ENVIRONMENT.compile(_counted_tree(tree))
            if not isinstance(code, CodeType):
                raise TemplateError("cannot be compiled")
            self._template = Template.from_code(_ENVIRONMENT, code, {})
        except TemplateSyntaxError as error:
            raise TemplateError(_said(error), error.lineno) from None
        except (RecursionError, MemoryError, SyntaxError):
            raise TemplateError("is nested too deeply") from None

    def __call__(self, variables: Mapping[str, Any]) -> str:
        """What the template makes of these values. Raises: TemplateError."""
        context = self._template.new_context({**variables, _WORK: _Work()})
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._template.root_render_func(context):
                pieces.append(piece)
                size += len(piece)
                if size > MOST_OUTPUT:
                    raise _TooMuchError(f"makes more than {MOST_OUTPUT // 1024} KiB")
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


class _TooMuchError(Exception):
    """Beyond a bound."""


_FAILURES: Final = (
    *(JinjaError, _TooMuchError, TypeError, ValueError, ArithmeticError, LookupError),
    *(AttributeError, RecursionError, MemoryError),
)
"""How what a template says can fail; anything else is a fault of ours."""


class _Work:
    """What one rendering has spent."""

    def __init__(self) -> None:
        self.spent = 0

    def spend(self, steps: int) -> None:
        self.spent += steps
        if self.spent > MOST_WORK:
            raise _TooMuchError(f"takes more than {MOST_WORK:,} steps")


def _spend(context: Context, *values: Any) -> None:
    """A step, and more of them for long texts."""
    longest = max((len(value) for value in values if isinstance(value, str)), default=0)
    context.parent[_WORK].spend(1 + longest // 64)


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
        _spend(context, getattr(obj, "__self__", None))
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _spend(context, left, right)
        if isinstance(left, Undefined) or isinstance(right, Undefined):
            return _NUMBERS["+"](left, right)  # which says what is undefined
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return _short(left + right)
        if operator not in _NUMBERS:
            raise SecurityError(f"{operator} is not possible here")
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            hint = "; ~ joins texts" if operator == "+" else ""
            raise TypeError(f"{operator} goes with numbers, and not with {_kind(left)} and {_kind(right)}{hint}")
        if max(abs(left), abs(right)) > LARGEST_NUMBER:
            raise _TooMuchError("reckons with a number that is too large")
        return _NUMBERS[operator](left, right)


def _short(value: Any, most: int = LONGEST_TEXT) -> Any:
    if isinstance(value, str) and len(value) > most:
        raise _TooMuchError(f"makes a text of more than {most // 1024} KiB")
    return value


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {str: "a text", bool: "true or false", int: "a number", float: "a number", dict: "a table", list: "a list"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), f"a {type(value).__name__}")


def _text(value: Any) -> str:
    """A value as it stands in the output: null is nothing, and what is no single value has no place there."""
    if isinstance(value, Markup):
        return str(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Undefined):
        return str(value)
    raise TypeError(f"{_kind(value)} cannot be written as it is; add | tojson, or name what of it")


# filters


def _filter(plain: Callable[..., Any]) -> Callable[..., Any]:
    """A filter of Jinja2, with what it does counted, and what it makes bounded."""
    asks_for = getattr(plain, "jinja_pass_arg", None)

    @pass_context
    def counted(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        _spend(context, value, *args)
        if isinstance(value, Iterable) and not isinstance(value, str | Mapping | Undefined):
            value = list(_steps(context, value, 1))
        given = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
        first = [given[asks_for.name]] if asks_for is not None else []
        made = plain(*first, value, *args, **kwargs)
        if isinstance(made, Iterator):
            made = list(_steps(context, made, 1))
        return _short(str(made) if isinstance(made, Markup) else made)

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
    for one in _steps(context, values, 1):
        texts.append(_text(one))
        size += len(texts[-1]) + len(between)
        _spend(context, texts[-1])
        if size > LONGEST_TEXT + len(between):
            raise _TooMuchError(f"makes a text of more than {LONGEST_TEXT // 1024} KiB")
    return between.join(texts)


@pass_context
def _replace(context: Context, value: Any, old: str, new: str) -> str:
    text = _text(value)
    _spend(context, text)
    places = text.count(old)
    if len(text) + places * (len(new) - len(old)) > LONGEST_TEXT:
        raise _TooMuchError(f"makes a text of more than {LONGEST_TEXT // 1024} KiB")
    return text.replace(old, new)


@pass_context
def _escape(context: Context, value: Any) -> str:
    _spend(context, text := _text(value))
    return str(_short(str(escape(text))))


@pass_context
def _tojson(context: Context, value: Any, indent: int | None = None) -> str:
    """As JSON, for bodies that are JSON; unlike Jinja2's own, nothing is escaped that only HTML needs."""

    def refuse(inner: Any) -> Any:
        if isinstance(inner, Undefined):
            str(inner)
        raise TypeError(f"{_kind(inner)} is no JSON")

    made = json.dumps(value, ensure_ascii=False, default=refuse, indent=min(indent, 8) if indent else None)
    _spend(context, made)
    return str(_short(made, MOST_OUTPUT))


@pass_context
def _counted(context: Context, values: Any, cost: int) -> Iterator[Any]:
    """What a loop goes through; each time round costs what is in it."""
    if isinstance(values, Undefined):
        str(values)
    if not isinstance(values, Iterable):
        raise TypeError(f"{_kind(values)} is nothing to go through")
    return _steps(context, values, cost)


def _steps(context: Context, values: Iterable[Any], cost: int) -> Iterator[Any]:
    work: _Work = context.parent[_WORK]
    for value in values:
        work.spend(cost)
        yield value


@pass_context
def _finalize(context: Context, value: Any) -> str:
    text = _text(value)
    _spend(context, text)
    return text


def _environment() -> _Sandbox:
    made = _Sandbox(undefined=StrictUndefined, finalize=_finalize, autoescape=False, keep_trailing_newline=False)
    made.globals.clear()
    ours = {"default": _default, "d": _default, "join": _join, "replace": _replace, "escape": _escape, "e": _escape}
    made.filters = {name: _filter(FILTERS[name]) for name in _PLAIN_FILTERS} | ours | {"tojson": _tojson}
    return made


_COUNTED: Final = "(counted)"
_ENVIRONMENT: Final = _environment()
_KNOWN_FILTERS: Final = tuple(_ENVIRONMENT.filters)
_ENVIRONMENT.filters[_COUNTED] = _counted


# what a template may say


def _check(tree: nodes.Template, variables: frozenset[str]) -> None:
    """Raises: TemplateError for the first thing that a template must not say."""
    for statement in tree.find_all(nodes.Stmt):
        if not isinstance(statement, _STATEMENTS):
            _refuse(statement, f"{_spelled(statement)} is not possible here; there are if, for and set")
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            _refuse(loop, "a recursive loop is not possible here")
        if _depth(loop) > DEEPEST_LOOP:
            _refuse(loop, f"loops may be {DEEPEST_LOOP} deep")
        _only_constants(loop.iter, "for goes through")
    for assignment in tree.find_all(nodes.Assign):
        if not isinstance(assignment.target, nodes.Name | nodes.Tuple):
            _refuse(assignment, "only a name can be set")
        _only_constants(assignment.node, "set makes")
    for used in tree.find_all(nodes.Filter):
        if used.name not in _KNOWN_FILTERS:
            near = difflib.get_close_matches(used.name, _KNOWN_FILTERS, n=1)
            _refuse(used, f'there is no filter "{used.name}"' + (f'; did you mean "{near[0]}"?' if near else ""))
    for test in tree.find_all(nodes.Test):
        if test.name not in _ENVIRONMENT.tests:
            _refuse(test, f'there is no test "{test.name}"')
    listed = sum(len(display.items) for display in tree.find_all(_DISPLAYS))
    if listed > MOST_LISTED:
        raise TemplateError(f"lists {listed} items; {MOST_LISTED} are possible")
    unknown = sorted(meta.find_undeclared_variables(tree) - variables)
    for name in tree.find_all(nodes.Name):
        if name.name in unknown and name.ctx == "load":
            _refuse(name, f'there is no "{name.name}"; there are {", ".join(sorted(variables))}')


def _refuse(node: nodes.Node, reason: str) -> NoReturn:
    raise TemplateError(reason, node.lineno)


def _spelled(statement: nodes.Stmt) -> str:
    names = {
        nodes.AssignBlock: "set with a block",
        nodes.CallBlock: "call",
        nodes.FilterBlock: "filter with a block",
        nodes.FromImport: "from",
        nodes.Scope: "autoescape",
    }
    return names.get(type(statement), type(statement).__name__.lower())


def _depth(loop: nodes.For) -> int:
    return 1 + max(
        (_depth(inner) for part in (loop.body, loop.else_) for one in part for inner in _loops(one)), default=0
    )


def _loops(node: nodes.Node) -> list[nodes.For]:
    return [node] if isinstance(node, nodes.For) else list(node.find_all(nodes.For))


def _only_constants(node: nodes.Node, does: str) -> None:
    """A list that holds itself twice, and that again, would be endless in the end."""
    for display in [*([node] if isinstance(node, _DISPLAYS) else []), *node.find_all(_DISPLAYS)]:
        inside = display.find_all((nodes.Name, nodes.Call))
        if any(True for _ in inside):
            _refuse(display, f"{does} a list or table: it may hold only constants")


def _counted_tree(tree: nodes.Template) -> nodes.Template:
    """The tree with every loop counted, and `~` done by the filter that is bounded."""
    _rewrite(tree)
    return tree


def _rewrite(node: nodes.Node) -> None:
    for name, value in list(node.iter_fields()):
        if isinstance(value, list):
            setattr(node, name, [_rewritten(one) if isinstance(one, nodes.Node) else one for one in value])
        elif isinstance(value, nodes.Node):
            setattr(node, name, _rewritten(value))


def _rewritten(node: nodes.Node) -> nodes.Node:
    _rewrite(node)
    if isinstance(node, nodes.Concat):
        joined = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(joined, "join", [], [], None, None, lineno=node.lineno)
    if isinstance(node, nodes.For):
        cost = 1 + sum(1 for part in node.body for _ in part.find_all(nodes.Node))
        amount = nodes.Const(cost, lineno=node.lineno)
        node.iter = nodes.Filter(node.iter, _COUNTED, [amount], [], None, None, lineno=node.lineno)
    return node


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
