"""The line of every key, in files as people write them and in files that nobody would write."""

import tomllib
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from poller.settings.lines import KeyPath, key_lines

KEYS = st.sampled_from(["a", "b_2", "c-d", '"e.f"', "'g h'", '"i\\"j"', "7", "k # l", '"="', '"["']).map(
    lambda key: f'"{key}"' if "#" in key else key
)
SCALARS = st.sampled_from(
    [
        "1",
        "-0.5e3",
        "true",
        '"x"',
        "'y'",
        '"# no comment"',
        "'] # neither'",
        '"a\\"b"',
        "1979-05-27 07:32:00",
        '"""one"""',
        '"""\ntwo\n"quoted""""',
        "'''\n[no.table]\n'''",
        '"""a\\\n   b ] """',
        "'''it''s'''",
        "0x1",
        '""',
        '""""""',
    ]
)
GAPS = st.lists(st.sampled_from(["\n", "# a = 1 [x]\n", "  \n", "\t# ]\n"]), max_size=2).map("".join)


def decoded(key: str) -> str:
    return next(iter(tomllib.loads(f"{key} = 1")))


@dataclass
class Written:
    """A file that grows, with the line at which each thing was put."""

    text: str = ""
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def here(self, path: KeyPath) -> None:
        self.lines[path] = self.text.count("\n") + 1

    def add(self, text: str) -> None:
        self.text += text


def write_value(draw: Any, file: Written, path: KeyPath, depth: int) -> None:
    kind = draw(st.sampled_from(["scalar", "scalar", "list", "inline"] if depth < 3 else ["scalar"]))
    if kind == "scalar":
        file.add(draw(SCALARS))
    elif kind == "list":
        file.add("[")
        for index in range(draw(st.integers(0, 3))):
            file.add(draw(GAPS))
            file.here((*path, index))
            write_value(draw, file, (*path, index), depth + 1)
            file.add(draw(GAPS.filter(lambda gap: not gap or gap[0] == "\n")) + ",")
        file.add("\n]" if draw(st.booleans()) else "]")
    else:
        file.add("{ ")
        for number, key in enumerate(draw(st.lists(KEYS, max_size=2, unique_by=decoded))):
            file.add(", " if number else "")
            file.here((*path, decoded(key)))
            file.add(f"{key} = ")
            file.add(draw(SCALARS.filter(lambda scalar: "\n" not in scalar)))
        file.add(" }")


def write_pairs(draw: Any, file: Written, path: KeyPath, prefix: str = "") -> None:
    for key in draw(st.lists(KEYS, max_size=3, unique_by=decoded)):
        file.add(draw(GAPS) + draw(st.sampled_from(["", "  "])))
        where = (*path, prefix + decoded(key))
        file.here(where)
        name = f'"{prefix}{decoded(key)}"'.replace('i"j', 'i\\"j') if prefix else key
        file.add(f"{name}{draw(st.sampled_from(['=', ' = ', '  ='])).replace('  =', chr(9) + '=')}")
        write_value(draw, file, where, 0)
        file.add(draw(st.sampled_from(["\n", "  # note\n"])))


@st.composite
def files(draw: Any) -> Written:
    file = Written()
    write_pairs(draw, file, ())
    for number in range(draw(st.integers(0, 3))):
        file.add(draw(GAPS))
        many = draw(st.booleans())
        for index in range(draw(st.integers(1, 3)) if many else 1):
            path: KeyPath = (f"table{number}", index) if many else (f"table{number}",)
            file.here(path)
            file.add(f"[[table{number}]]" if many else f"[ table{number} ]")
            file.add(draw(st.sampled_from(["\n", " # [other]\n"])))
            write_pairs(draw, file, path)
            if draw(st.booleans()):
                file.here((*path, "below"))
                file.add(f"[table{number}.below]\n")
                write_pairs(draw, file, (*path, "below"))
    return file


@given(files(), st.booleans())
def test_every_key_is_found_on_the_line_on_which_it_was_written(file: Written, windows: bool) -> None:
    text = file.text.replace("\n", "\r\n") if windows else file.text
    tomllib.loads(text)  # the generator writes TOML
    lines = key_lines(text)
    assert {path: lines.get(path) for path in file.lines} == file.lines


@given(files())
def test_every_value_of_the_file_has_a_line(file: Written) -> None:
    lines = key_lines(file.text)

    def check(value: Any, path: KeyPath) -> None:
        if path:
            assert path in lines
        steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for step, item in steps:
            check(item, (*path, step))

    check(tomllib.loads(file.text), ())


@given(st.text(alphabet="ab=[]{}.,\"'#\n \\", max_size=60))
def test_a_text_that_is_no_toml_is_skimmed_without_an_error(text: str) -> None:
    assert all(1 <= line <= text.count("\n") + 1 for line in key_lines(text).values())


def test_dotted_keys_tables_out_of_order_and_tables_in_lists() -> None:
    text = """\
a.b.c = 1
a.d = 2

[x.y]
[z]
[x]
k = 1
[[l.m]]
n = 1
[[l.m.o]]
p = 1
[[l.m.o]]
p = 2
[[l.m]]
n = 2
"""
    tomllib.loads(text)
    assert key_lines(text) == {
        ("a",): 1,
        ("a", "b"): 1,
        ("a", "b", "c"): 1,
        ("a", "d"): 2,
        ("x",): 4,
        ("x", "y"): 4,
        ("z",): 5,
        ("x", "k"): 7,
        ("l",): 8,
        ("l", "m"): 8,
        ("l", "m", 0): 8,
        ("l", "m", 0, "n"): 9,
        ("l", "m", 0, "o"): 10,
        ("l", "m", 0, "o", 0): 10,
        ("l", "m", 0, "o", 0, "p"): 11,
        ("l", "m", 0, "o", 1): 12,
        ("l", "m", 0, "o", 1, "p"): 13,
        ("l", "m", 1): 14,
        ("l", "m", 1, "n"): 15,
    }
