"""From what pydantic found to a sentence that says what is expected, and never what a secret is.

A sentence goes behind a place and a key: `config.toml:12 [polling] min_interval: <sentence>`. It shows the value that
was given only where the caller says that it may be shown.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

LONGEST_SHOWN: Final = 60

Context = Mapping[str, Any]


def _choice(context: Context) -> str:
    return f"expected {context['expected']}"


EXPECTED: Final[Mapping[str, Callable[[Context], str]]] = {
    "string_type": lambda _: "expected text, in quotes",
    "string_sub_type": lambda _: "expected text, in quotes",
    "string_unicode": lambda _: "expected text in UTF-8",
    "string_too_short": lambda c: (
        "must not be empty" if c["min_length"] == 1 else f"expected at least {c['min_length']} characters"
    ),
    "string_too_long": lambda c: f"expected at most {c['max_length']} characters",
    "string_pattern_mismatch": lambda c: f"expected text of the form {c['pattern']}",
    "int_type": lambda _: "expected a whole number",
    "int_parsing": lambda _: "expected a whole number",
    "int_parsing_size": lambda _: "the number is too large",
    "int_from_float": lambda _: "expected a whole number",
    "float_type": lambda _: "expected a number",
    "float_parsing": lambda _: "expected a number",
    "finite_number": lambda _: "expected a finite number",
    "bool_type": lambda _: "expected true or false",
    "bool_parsing": lambda _: "expected true or false",
    "none_required": lambda _: "must be left out",
    "literal_error": _choice,
    "enum": _choice,
    "const": _choice,
    "greater_than": lambda c: f"must be more than {_number(c['gt'])}",
    "greater_than_equal": lambda c: f"must be at least {_number(c['ge'])}",
    "less_than": lambda c: f"must be less than {_number(c['lt'])}",
    "less_than_equal": lambda c: f"must be at most {_number(c['le'])}",
    "multiple_of": lambda c: f"must be a multiple of {_number(c['multiple_of'])}",
    "tuple_type": lambda _: 'expected a list, such as ["a", "b"]',
    "list_type": lambda _: 'expected a list, such as ["a", "b"]',
    "set_type": lambda _: 'expected a list, such as ["a", "b"]',
    "frozen_set_type": lambda _: 'expected a list, such as ["a", "b"]',
    "iterable_type": lambda _: 'expected a list, such as ["a", "b"]',
    "too_short": lambda c: (
        "must not be empty; leave the key out instead"
        if c["min_length"] == 1
        else f"expected at least {c['min_length']} entries"
    ),
    "too_long": lambda c: f"expected at most {c['max_length']} entries",
    "dict_type": lambda _: 'expected a table, such as { key = "value" }',
    "mapping_type": lambda _: 'expected a table, such as { key = "value" }',
    "model_type": lambda _: "expected a table",
    "model_attributes_type": lambda _: "expected a table",
    "dataclass_type": lambda _: "expected a table",
    "invalid_key": lambda _: "the keys of this table must be text",
    "url_type": lambda _: "expected an address, such as https://example.org/path",
    "url_parsing": lambda _: "expected an address, such as https://example.org/path",
    "url_syntax_violation": lambda _: "expected an address, such as https://example.org/path",
    "url_too_long": lambda c: f"expected an address of at most {c['max_length']} characters",
    "url_scheme": lambda c: f"expected an address that begins with {c['expected_schemes']}",
    "time_delta_type": lambda _: 'expected a duration, such as "30s", "5m", "2h"',
    "time_delta_parsing": lambda _: 'expected a duration, such as "30s", "5m", "2h"',
    "path_type": lambda _: "expected the path of a file, in quotes",
    "path_not_file": lambda _: "there is no such file",
    "path_not_directory": lambda _: "there is no such directory",
    "bytes_type": lambda _: "expected text, in quotes",
    "callable_type": lambda _: "expected something to call; from a file: its name as module:function",
    "value_error": lambda c: _first_line(c.get("error")),
    "assertion_error": lambda c: _first_line(c.get("error")),
    "sink_broken": lambda c: _first_line(c["reason"]),
}
"""pydantic's error types, as of 2.14, that a configuration can lead to -> what was expected instead."""


def explain(kind: str, context: Context, message: str, description: str | None) -> str:
    """What was expected where pydantic reports an error of type `kind`.

    Args: `context` and `message` are pydantic's `ctx` and `msg`; `description` is the field's own line, which says more
    than a pattern does.
    """
    if kind == "missing":
        return f"is missing{_told(description)}"
    if kind == "string_pattern_mismatch" and description:
        return f"does not fit here{_told(description)}"
    try:
        if kind in EXPECTED:
            return EXPECTED[kind](context)
    except (KeyError, TypeError):
        pass  # pydantic changed what goes with this type: its own words will do
    return _generic(message)


def quoted(value: object) -> str | None:
    """A short value as it is written in TOML, None for what is not worth showing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)
        return text if len(text) <= LONGEST_SHOWN else None
    return None


def nearest(word: str, words: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that a misspelt one most likely means."""
    by_simple = {known.replace("-", "_").lower(): known for known in words}
    simple = word.replace("-", "_").lower()
    found = difflib.get_close_matches(simple, by_simple, n=1, cutoff=cutoff)
    return by_simple[found[0]] if found else None


def _told(description: str | None) -> str:
    if not description:
        return ""
    lead = description[:2]
    return ": " + (lead if lead.isupper() else lead.lower()) + description[2:].rstrip(".")


def _generic(message: str) -> str:
    text = _first_line(message).removeprefix("Value error, ").replace("Input should be", "expected")
    return text[:1].lower() + text[1:] if text else "is not valid"


def _first_line(reason: object) -> str:
    lines = str(reason).strip().splitlines()
    return lines[0].rstrip(".") if lines else "is not valid"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
