"""Templates: what they may say, what they make, and that none can hang the daemon or fill its memory."""

import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poller.core.samples import sample_event
from poller.sinks.templating import bounds
from poller.sinks.templating.bounds import TemplateError
from poller.sinks.templating.rendering import Rendering
from poller.sinks.templating.templates import VARIABLES, variables_of

FAILED = variables_of(sample_event("failed", tags={"project": "x", "items": "y"}, batch_id=None))


def rendered(text: str, variables: dict[str, Any] = FAILED) -> str:
    return Rendering(text, VARIABLES)(variables)


def failure(text: str, variables: dict[str, Any] = FAILED) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        rendered(text, variables)
    return caught.value


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ kind }} {{ data.name }} {{ event.subject }}", "failed sample-42 1234567"),
        ("{{ data.status | lower | capitalize }}", "Failed"),
        ("{% if data.status == 'FAILED' %}!{% elif data.terminal %}.{% else %}?{% endif %}", "!"),
        ("{% for status in data.skipped_statuses %}{{ loop.index }}:{{ status }}{% endfor %}", "1:STOPPING"),
        ("{% for tag, value in data.tags | dictsort %}{{ tag }}={{ value }};{% endfor %}", "items=y;project=x;"),
        ("{{ data.tags.project }}{{ data.tags['items'] }}{{ data.tags.items }}", "xyy"),
        ("{% set colours = {'FAILED': 'red'} %}{{ colours[data.status] }}{{ colours.get('x', 'blue') }}", "redblue"),
        ("{{ data.batch_id }}|{{ data.batch_id | default('-') }}|{{ data.tags.none | default('-') }}", "|-|-"),
        ("{{ '' | default('empty') }}|{{ '' | default('empty', true) }}", "|empty"),
        ("{{ 'a' ~ 1 ~ none ~ true }}{{ 'b' + 'c' }}", "a1truebc"),
        ("{{ (data.duration_seconds / 60) | round | int }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 2 * 3 - 1 }}", "90 3 3 5"),
        ("{{ data.name | tojson }}", '"sample-42"'),
        ("{{ {'text': '<' ~ data.name, 'n': [1, none]} | tojson }}", '{"text": "<sample-42", "n": [1, null]}'),
        ("{{ 'é\\u2028' | tojson }}", '"é\u2028"'),
        ("{{ data.name | replace('-', '_') | escape }}{{ '<' | e }}", "sample_42&lt;"),
        ("{{ ['b', 'a', 'b'] | unique | sort | join('+') }}", "a+b"),
        ("{{ data.tags | length }}{{ data.name.startswith('sample') }}{{ data.name.split('-') | last }}", "2true42"),
        ("{{ [{'n': 'x'}, {'n': 'y'}] | map(attribute='n') | join }}", "xy"),
        ("{# no word of this #}{% raw %}{{ }}{% endraw %}", "{{ }}"),
        ("one\n", "one"),
    ],
)  # fmt: skip
def test_what_templates_are_for(text: str, made: str) -> None:
    assert rendered(text) == made


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("\n{{ data.nam }}", 2, 'there is no "nam" here; did you mean "name"?'),
        ("{{ data.tags.projct }}", 1, 'there is no "projct" here'),
        ("{{ data['nam'] }}", 1, 'there is no "nam" here; did you mean "name"?'),
        ("{% if false %}{{ status }}{% endif %}", 1, 'there is no "status"; there are data, event, kind'),
        ("{{ data.batch_id.upper() }}", 1, 'null has no "upper"'),
        ("a\nb\n{{ 1 / 0 }}", 3, "divides by zero"),
        ("{{ data.tags }}", 1, "a table cannot be written as it is; add | tojson, or name what of it"),
        ("{{ data.skipped_statuses }}", 1, "a list cannot be written as it is; add | tojson, or name what of it"),
        ("{{ data.name + 1 }}", 1, "+ goes with numbers, and not with a text and a number; ~ joins texts"),
        ("{% for one in 5 %}{% endfor %}", 1, "a number is nothing to go through"),
        ("{{ data.name | uper }}", 1, 'there is no filter "uper"; did you mean "upper"?'),
        ("{{ data.name is foo }}", 1, 'there is no test "foo"'),
        ("{{ data.name", 1, "unexpected end of template, expected 'end of print statement'"),
        ("\n{% if data.name %}\n", 2, "Unexpected end of template"),
        ("{{ [data.nope] | tojson }}", 1, 'there is no "nope" here'),
        ("{% for one in data.nope %}{% endfor %}", 1, 'there is no "nope" here'),
        ("{{ data.nope() }}", 1, 'there is no "nope" here'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, reason: str) -> None:
    error = failure(text)
    assert error.line == line
    assert error.reason.startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ ''.__class__.__mro__ }}", "__class__ is not possible here"),
        ("{{ data.__class__ }}", "__class__ is not possible here"),
        ("{{ data.name.format(event) }}", "format cannot be called here"),
        ("{{ data.name.format_map(event) }}", "format_map cannot be called here"),
        ("{{ data.pop('name') }}", "pop is not possible here"),
        ("{{ event.update({'a': 1}) }}", "update is not possible here"),
        ("{{ data.name.center(1000000000) }}", "center is not possible here"),
        ("{{ '%1000000000d' % 1 }}", "% goes with numbers"),
        ("{{ '%1000000000d' | format(1) }}", 'there is no filter "format"'),
        ("{{ data | attr('pop') }}", 'there is no filter "attr"'),
        ("{{ [1, 2] | random }}", 'there is no filter "random"'),
        ("{{ range(10) }}", 'there is no "range"'),
        ("{{ lipsum() }}", 'there is no "lipsum"'),
        ("{{ namespace() }}", 'there is no "namespace"'),
        ("{{ cycler('a') }}", 'there is no "cycler"'),
        ("{% include 'x' %}", "include is not possible here; there are if, for and set"),
        ("{% import 'x' as y %}", "import is not possible here"),
        ("{% from 'x' import y %}", "from is not possible here"),
        ("{% extends 'x' %}", "extends is not possible here"),
        ("{% block x %}{% endblock %}", "block is not possible here"),
        ("{% macro x() %}{{ x() }}{{ x() }}{% endmacro %}{{ x() }}", "macro is not possible here"),
        ("{% call x() %}{% endcall %}", "call is not possible here"),
        ("{% filter upper %}x{% endfilter %}", "filter with a block is not possible here"),
        ("{% set x %}y{% endset %}", "set with a block is not possible here"),
        ("{% with x = 1 %}{% endwith %}", "with is not possible here"),
        ("{% autoescape true %}{% endautoescape %}", "autoescape is not possible here"),
        ("{% set data.name = 1 %}", "only a name can be set"),
        ("{% for x in data.tags recursive %}{{ loop(x) }}{% endfor %}", "a recursive loop is not possible here"),
        ("{% for a in kind %}" * 3 + "{% endfor %}" * 3, "loops may be 2 deep"),
        ("{% set a = [data.name, data.name] %}", "set makes a list or table: it may hold only constants"),
        ("{% for a in [data.name] %}{% endfor %}", "for goes through a list or table: it may hold only constants"),
    ],
)  # fmt: skip
def test_what_a_template_must_not_say_is_refused(text: str, reason: str) -> None:
    assert failure(text).reason.startswith(reason)


GROW = "{% set a = 'sixteen letters.' %}"
LONG = GROW + "{% set a = a ~ a %}" * 11
BOMBS = {
    "multiplied text": "{{ 'x' * 1000000000 }}",
    "power": "{{ 10 ** 1000000 }}",
    "numbers that grow": "{% set n = 7 %}" + "{% set n = n * n %}" * 200 + "{{ n }}",
    "text doubled by ~": GROW + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "text doubled by +": GROW + "{% set a = a + a %}" * 60 + "{{ a }}",
    "text doubled by join": GROW + "{% set a = [1, 2, 3, 4, 5, 6, 7, 8] | join(a) %}" * 60 + "{{ a }}",
    "text that replace makes": GROW + "{% set a = a | replace('', a) %}" * 20 + "{{ a }}",
    "text that is encoded": GROW + "{% set a = '%' ~ a | urlencode %}" * 500 + "{{ a }}",
    "text that is escaped": "{% set a = '&&&' %}" + "{% set a = a | e | replace('a', '&') %}" * 60 + "{{ a }}",
    "output in a loop": GROW + "{% set a = a ~ a ~ a ~ a %}" * 5 + "{% for x in a %}{{ a }}{% endfor %}",
    "letters in a loop": LONG + f"{{% for x in a %}}{'y' * 1000}{{% endfor %}}",
    "a loop in a loop": LONG + "{% for x in a %}{% for y in a %}{% endfor %}{% endfor %}",
    "a long look in a loop": LONG + "{% for x in a %}" + "{% if 'z' in a %}{% endif %}" * 500 + "{% endfor %}",
    "a list in a list": "{{ " + "[" * 60 + "1" + "]" * 60 + " | tojson }}{{ [" + "kind," * 300 + "] | tojson }}",
    "a filter for each letter": LONG + "{% for x in a | map('upper') | map('lower') | list %}{% endfor %}",
    "brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "a template that is too long": "x" * 70_000,
}  # fmt: skip


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_no_template_can_hang_or_fill_the_memory(text: str) -> None:
    """Each fails after a bounded number of steps (that the test ends is the proof), and in little memory."""
    tracemalloc.start()
    try:
        failure(text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


def test_the_bounds_leave_room_for_what_is_useful() -> None:
    table = (
        "{% for one in data.not_completed %}{{ loop.index }}. {{ one.run_id | upper }} {{ one.status }}\n{% endfor %}"
    )
    runs = [{"run_id": str(number), "status": "FAILED"} for number in range(100)]
    assert len(rendered(table, {**FAILED, "data": {"not_completed": runs}}).splitlines()) == 100
    assert len(rendered("{{ data | tojson }}", {**FAILED, "data": {"parameters": ["x" * 1000] * 200}})) > 200_000


def test_what_is_counted_does_not_depend_on_the_machine() -> None:
    """Else an event would be a dead letter on a slow day, and not on another one."""
    text = GROW + "{% set a = a ~ a %}" * 9 + "{% for x in a %}{{ x }}{{ x }}{% endfor %}"
    assert {str(failure(text + "{% for x in a %}{% for y in a %}{% endfor %}{% endfor %}")) for _ in range(3)} == {
        f"line 1: takes more than {bounds.MOST_WORK:,} steps"
    }


def test_the_same_event_gives_the_same_text() -> None:
    template = Rendering("{{ event | tojson }}{% for tag in data.tags %}{{ tag }}{% endfor %}", VARIABLES)
    assert len({template(FAILED) for _ in range(3)}) == 1


PIECES = st.sampled_from(
    ["{{ data.name }}", "{{ kind", "}}", "{%", "%}", "{% if data.tags %}", "{% endif %}", "{% for a in data.tags %}",
     "{% endfor %}", "{{ a ~ a }}", "{% set a = 'x' %}", "{% set a = a ~ a %}", "| tojson", "[", "]", "(", ")", "{#",
     "text", "{{ data.nope }}", "{{ data.tags | length * 3 }}", "**", "'", "\n"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=12).map(" ".join) | st.text(max_size=80))
def test_any_text_is_a_template_or_says_why_not(text: str) -> None:
    with suppress(TemplateError):
        assert isinstance(rendered(text), str)
