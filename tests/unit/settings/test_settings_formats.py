"""Formats in the configuration: what is refused, with file, line and key, and what `check` warns of."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from poller.core.errors import ConfigError
from poller.settings.load import Loaded, load_settings
from poller.settings.sinks import sink_warnings

HEAD: Final = """\
[watch]
discover = true
[[sinks]]
name = "hook"
type = "webhook"
url = "https://hooks.example.org"
"""
TEMPLATE: Final = 'format = "template"\nevents = ["failed"]\n'
Configured = Callable[..., Loaded]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    """Load a webhook with these lines in its table; the working directory is another one than the file's."""
    monkeypatch.chdir("/")

    def load(text: str, **environ: str) -> Loaded:
        (tmp_path / "config.toml").write_text(HEAD + text)
        return load_settings(tmp_path / "config.toml", environ)

    return load


def refusal(configured: Configured, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        configured(text, **environ)
    return str(caught.value).replace(str(Path(str(caught.value).partition(":")[0]).parent) + "/", "")


NAME = '"{{ data.nam }}"'
PLAIN = TEMPLATE + 'template = "x"\n'


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('format = "xml"', 7, "format: expected 'cloudevents', 'eventbridge' or 'template'"),
        ('format = "template"', 3, 'template: is missing: format = "template" needs it, or template_file'),
        ('template = "x"', 7, 'template: goes with format = "template"; set that too, or take this out'),
        ('content_type = "x"', 7, 'content_type: goes with format = "template"'),
        (PLAIN + 'template_file = "y"', 10, "template_file: template is given, too"),
        (TEMPLATE + 'template_file = "none.j2"', 9, "template_file: none.j2 cannot be read: No such file"),
        (TEMPLATE + "template_file = 5", 9, "template_file: expected the path of a file, in quotes, and not 5"),
        (TEMPLATE + f"template = {NAME}", 9, 'template: line 1: there is no "nam" here; did you mean "name"?'),
        (TEMPLATE + 'template = """\n\n{{ data.name"""', 9, "template: line 2: unexpected end of template"),
        (PLAIN + 'content_type = "{{ x }}"', 10, 'content_type: line 1: there is no "x"'),
        (PLAIN + 'template_headers = { A = "{{ x }}" }', 10, 'template_headers.A: line 1: there is no "x"'),
        (PLAIN + 'template_headers = { "A B" = "x" }', 10, "template_headers.A B: a header's name holds letters"),
        (
            PLAIN + 'template_headers = { webhook-id = "x" }',
            10,
            "template_headers.webhook-id: the header webhook-id is set by the sink itself",
        ),
        (
            PLAIN + 'template_headers = { x-a = "x" }\nheaders = { X-A = "y" }',
            10,
            "template_headers.x-a: headers has this one, too",
        ),
        ('format = "eventbridge"\nmode = "binary"', 8, 'mode: binary is a mode of format = "cloudevents"'),
        ('mode = "text"', 7, "mode: expected 'structured' or 'binary'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(configured: Configured, text: str, line: int, said: str) -> None:
    message = refusal(configured, text)
    assert message.startswith(f'config.toml:{line} [[sinks]] "hook" {said}'), message
    assert len(message.splitlines()) == 1


def test_a_template_is_tried_against_every_event_that_the_sink_takes(configured: Configured) -> None:
    text = 'format = "template"\ntemplate = "{{ data.name }}"'
    message = refusal(configured, text)
    assert (
        'template: fails with cohort.finished, blind, recovered and 2 more: line 1: there is no "name" here' in message
    )
    assert "let events take only what it is made for" in message
    configured(text + '\nevents = ["failed", "batch.*"]')
    configured(text.replace("{{ data.name }}", "{% if data.name is defined %}{{ data.name }}{% endif %}"))
    configured(text + '\nevents = ["failed", "cohort.finished"]\nmatch = { workflow = "*" }')
    assert '"name" here' in refusal(configured, text + '\nevents = ["failed", "blind"]\nmatch = { workflow = "*" }')


def test_a_template_file_is_found_beside_the_configuration_and_its_line_is_named(
    configured: Configured, tmp_path: Path
) -> None:
    (tmp_path / "page.j2").write_text("{{ data.name }}\n{# a word #}\n{{ data.nam }}\n")
    message = refusal(configured, TEMPLATE + 'template_file = "page.j2"')
    assert message.startswith('config.toml:9 [[sinks]] "hook" template_file: page.j2:3: there is no "nam" here')
    (tmp_path / "page.j2").write_text("{{ data.name }}")
    configured(TEMPLATE + 'template_file = "page.j2"')


def test_a_secret_in_a_template_is_in_no_message(configured: Configured) -> None:
    message = refusal(configured, TEMPLATE + 'template = "{{ ${API_TOKEN} }}"', API_TOKEN="sesame5")
    assert "sesame5" not in message
    loaded = configured(TEMPLATE + "template = '''{\"key\": \"${API_TOKEN}\"}'''", API_TOKEN="sesame5")
    assert "sesame5" not in str(warnings_of(loaded))


def warnings_of(loaded: Loaded) -> list[str]:
    doubts = sink_warnings(loaded.settings.sinks, loaded.directory, datetime(2026, 11, 23, tzinfo=UTC))
    return [doubt.sentence for doubt in doubts]


def test_it_is_said_what_events_a_template_would_fail_with(configured: Configured) -> None:
    (said,) = warnings_of(configured(TEMPLATE + 'template = "x{{ data.tags.project }}"\ncontent_type = "text/plain"'))
    assert said == (
        '[[sinks]] "hook" template: fails where something is not known, or there are no tags (failed), and such an '
        'event is a dead letter: line 1: null has no "project"; write | default(…)'
    )
    assert not warnings_of(
        configured(TEMPLATE + 'template = "{{ data.tags.project | default(0) }}"\ncontent_type = "text/plain"')
    )


def test_it_is_said_where_a_template_makes_no_json(configured: Configured) -> None:
    (said,) = warnings_of(configured(TEMPLATE + 'template = \'{"name": "{{ data.name }}"}\''))
    assert said.startswith(
        '[[sinks]] "hook" template: makes no JSON of failed where a name holds quotation marks; write'
    )
    (said,) = warnings_of(configured(TEMPLATE + 'template = "failed"'))
    assert said == '[[sinks]] "hook" template: makes no JSON of failed (Expecting value)'
    assert not warnings_of(configured(TEMPLATE + "template = '{\"name\": {{ data.name | tojson }}}'"))
    assert not warnings_of(configured(TEMPLATE + 'template = "failed"\ncontent_type = "text/plain"'))
    assert not warnings_of(configured('format = "eventbridge"'))
