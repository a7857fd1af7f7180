"""What a sink sends of an event: the event as it is stored, AWS's own JSON, or what a template makes of it.

A format is a pure function of the stored bytes, less what is omitted: every attempt sends the same. Sources:
CloudEvents 1.0.2, JSON format and HTTP protocol binding (binary content mode); for AWS's JSON `sinks/aws_events.py`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from poller.core.errors import ConfigError, Rejected
from poller.core.events import Event, bytes_of
from poller.core.values import SinkSettings
from poller.sinks.aws_events import aws_event

if TYPE_CHECKING:
    from poller.sinks.templating.templates import Templates

CLOUDEVENTS_TYPE: Final = "application/cloudevents+json"
JSON_TYPE: Final = "application/json"
LONGEST_FILE: Final = 256 * 1024
"""Bytes of a template file that are read; a template may have 64 Ki characters."""

KeyProblem = tuple[tuple[str | int, ...], str]
"""A key of the sink's table, as a path, and what is wrong with it."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SET_BY_SINKS: Final = frozenset(
    {"content-type", "content-length", "transfer-encoding", "connection", "host", "replay-id", "proxy-authorization"}
)
_NOT_IN_ATTRIBUTES: Final = re.compile(r"[^!-~]|[\"%]")


class Rendered(NamedTuple):
    """What is sent of an event. `headers` go beside the body where a transport has such a place."""

    body: bytes
    content_type: str
    headers: Mapping[str, str] = {}


class Formatter(Protocol):
    """A format, ready for one sink."""

    def body(self, event: Event) -> Rendered:
        """What is sent of this event, from which what is to be omitted is gone already. Raises: Rejected."""
        ...


@dataclass(frozen=True)
class TemplateFile:
    """A file that holds a template, as it was when the configuration was read: one that changes is another setting.

    `text` is None where it cannot be read, and `problem` says why.
    """

    path: Path
    text: str | None = None
    problem: str | None = None

    @classmethod
    def read(cls, path: Path, directory: Path) -> Self:
        """Read it. Args: `directory` is what a relative path is relative to."""
        try:
            with (directory / path.expanduser()).open("rb") as file:
                content = file.read(LONGEST_FILE + 1)
        except (OSError, ValueError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            return cls(path, problem=f"{path} cannot be read: {reason}")
        if len(content) > LONGEST_FILE:
            return cls(path, problem=f"{path} is larger than {LONGEST_FILE // 1024} KiB")
        try:
            return cls(path, content.decode("utf-8-sig").replace("\r\n", "\n"))
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            return cls(path, problem=f"{path}:{line} is not UTF-8 text")

    @classmethod
    def _validated(cls, value: Any, info: core_schema.ValidationInfo) -> Self:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str | Path) or not str(value):
            raise ValueError("expected the path of a file, in quotes")
        return cls.read(Path(value), (info.context or {}).get("directory") or Path.cwd())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        as_text = core_schema.plain_serializer_function_ser_schema(lambda file: str(file.path))
        return core_schema.with_info_plain_validator_function(cls._validated, serialization=as_text)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": "path"}


class FormattedSettings(SinkSettings):
    """What a sink can be told of the form in which it sends events."""

    format: Literal["cloudevents", "eventbridge", "template"] = Field(
        "cloudevents",
        description="What it sends: cloudevents, eventbridge (AWS's own JSON), or template (what you write).",
    )
    template: str | None = Field(None, description="Jinja2 template of the body, for format = template.")
    template_file: TemplateFile | None = Field(
        None, description="File with that template, in place of it; relative to this file."
    )

    def problems(self) -> Iterator[KeyProblem]:
        """What is wrong with the format: keys that do not go together, and a template that fails."""
        given = [key for key in self.template_keys() if getattr(self, key)]
        if self.format != "template":
            for key in given:
                yield (key,), 'goes with format = "template"; set that too, or take this out'
            return
        if self.template is None and self.template_file is None:
            yield ("template",), 'is missing: format = "template" needs it, or template_file'
        elif self.template is not None and self.template_file is not None:
            yield ("template_file",), "template is given, too; one of them is enough"
        elif self.template_file is not None and self.template_file.problem is not None:
            yield ("template_file",), self.template_file.problem
        else:
            yield from _templates(self).problems()

    def warnings(self, directory: Path, now: datetime) -> Iterable[str]:
        """Of what events a template would fail, or make no JSON, though it does well with the samples."""
        if self.format == "template" and not any(True for _ in self.problems()):
            yield from _templates(self).doubts()

    @classmethod
    def template_keys(cls) -> tuple[str, ...]:
        """The keys that only a template has."""
        return ("template", "template_file")

    def template_texts(self) -> dict[tuple[str, ...], str]:
        """Every template by its key, the one of the body first."""
        if self.template_file is not None:
            return {("template_file",): self.template_file.text or ""}
        return {("template",): self.template or ""}


class HttpFormattedSettings(FormattedSettings):
    """What a sink can be told that sends over HTTP, with headers."""

    mode: Literal["structured", "binary"] = Field(
        "structured",
        description="Of CloudEvents: structured, the whole event in the body, or binary, its attributes in headers.",
    )
    content_type: str | None = Field(
        None, description="Content type, for format = template; may be a template; application/json without it."
    )
    template_headers: dict[str, str] = Field(
        {}, description="Headers to add, for format = template; their values may be templates."
    )

    def problems(self) -> Iterator[KeyProblem]:
        """As above, and what is wrong with the headers."""
        if self.mode == "binary" and self.format != "cloudevents":
            yield ("mode",), 'binary is a mode of format = "cloudevents"; take one of them out'
        for name in self.template_headers:
            if (said := header_problem(name)) is not None:
                yield ("template_headers", name), said
                return
        yield from super().problems()

    @classmethod
    def template_keys(cls) -> tuple[str, ...]:
        return (*super().template_keys(), "content_type", "template_headers")

    def template_texts(self) -> dict[tuple[str, ...], str]:
        texts = super().template_texts()
        texts["content_type",] = self.content_type or JSON_TYPE
        return texts | {("template_headers", name): text for name, text in self.template_headers.items()}


def header_problem(name: str) -> str | None:
    """What is wrong with the name of a header that somebody adds; None if nothing is."""
    if not _TOKEN.fullmatch(name):
        return "a header's name holds letters, digits and dashes"
    if name.lower() in _SET_BY_SINKS or name.lower().startswith("webhook-"):
        return f"the header {name} is set by the sink itself"
    return None


def formatter(settings: FormattedSettings) -> Formatter:
    """The format that settings ask for. Raises: ConfigError if it is not to be had."""
    for path, said in settings.problems():
        raise ConfigError(f"{'.'.join(map(str, path))}: {said}")
    if settings.format == "template":
        return _TemplateFormat(_templates(settings))
    if settings.format == "eventbridge":
        return _AwsFormat()
    return _BinaryFormat() if getattr(settings, "mode", None) == "binary" else _StructuredFormat()


class _StructuredFormat:
    def body(self, event: Event) -> Rendered:
        return Rendered(event.body, CLOUDEVENTS_TYPE)


class _BinaryFormat:
    def body(self, event: Event) -> Rendered:
        attributes = {name: value for name, value in event.attributes.items() if name != "data" and value is not None}
        content_type = str(attributes.pop("datacontenttype", JSON_TYPE))
        headers = {f"ce-{name}": header_value(str(value)) for name, value in attributes.items()}
        return Rendered(bytes_of(event.data), content_type, headers)


class _AwsFormat:
    def body(self, event: Event) -> Rendered:
        return Rendered(bytes_of(aws_event(event)), JSON_TYPE)


class _TemplateFormat:
    def __init__(self, templates: "Templates") -> None:
        self._templates = templates

    def body(self, event: Event) -> Rendered:
        """Raises: Rejected if the template fails with this event."""
        from poller.sinks.templating.templates import PartError

        try:
            body, content_type, headers = self._templates.render(event)
        except PartError as error:
            raise Rejected(str(error)) from error
        return Rendered(body.encode(errors="replace"), content_type or JSON_TYPE, headers)


def header_value(text: str) -> str:
    """An attribute of a CloudEvent as a header holds it: percent-encoded (HTTP binding 1.0.2, 3.1.3.2)."""
    return percent_encoded(text, _NOT_IN_ATTRIBUTES)


def percent_encoded(text: str, characters: re.Pattern[str]) -> str:
    """The text with these characters as %XX, byte by byte of their UTF-8."""
    return characters.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode(errors="replace")), text)


def _templates(settings: FormattedSettings) -> "Templates":
    from poller.sinks.templating.templates import Templates  # Jinja2 takes a tenth of a second, for those who use it

    return Templates(settings)
