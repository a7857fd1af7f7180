"""What a template may say: output, `if`, `for`, `set` and expressions with the filters that there are; no more."""

import difflib
from typing import Final, NoReturn

from jinja2 import meta, nodes
from jinja2.tests import TESTS

from poller.sinks.templating.bounds import DEEPEST_LOOP, MOST_LISTED, TemplateError
from poller.sinks.templating.filters import FILTERS

COUNTED: Final = "(counted)"
"""The filter that counts what a loop goes through; no template can name it."""
_STATEMENTS: Final = (nodes.Output, nodes.If, nodes.For, nodes.Assign)
_Display = nodes.List | nodes.Tuple | nodes.Dict
_DISPLAYS: Final[tuple[type[_Display], ...]] = (nodes.List, nodes.Tuple, nodes.Dict)


def check(tree: nodes.Template, variables: frozenset[str]) -> None:
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
        if used.name not in FILTERS:
            near = difflib.get_close_matches(used.name, FILTERS, n=1)
            _refuse(used, f'there is no filter "{used.name}"' + (f'; did you mean "{near[0]}"?' if near else ""))
    for test in tree.find_all(nodes.Test):
        if test.name not in TESTS:
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


def counting(tree: nodes.Template) -> nodes.Template:
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
        node.iter = nodes.Filter(node.iter, COUNTED, [amount], [], None, None, lineno=node.lineno)
    return node
