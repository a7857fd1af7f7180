"""What a webhook says: a CloudEvent in structured or in binary mode, or something else, which is left as it is. Pure.

Source: the HTTP protocol binding of CloudEvents 1.0, sections 3.1 (binary) and 3.2 (structured).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote

from poller.core.runs import Json

Mode = Literal["structured", "binary", "raw"]

PREFIX: Final = "ce-"
NEEDED: Final = ("specversion", "id", "source", "type")


@dataclass(frozen=True, slots=True)
class Message:
    """The content of a request. `event` are the attributes of the CloudEvent, with its `data`; None if it is none.

    `problem` says why something that calls itself a CloudEvent is none.
    """

    mode: Mode
    content_type: str
    body: bytes
    event: Mapping[str, Json] | None = None
    problem: str | None = None

    @property
    def text(self) -> str:
        """The body as text, whatever it is."""
        return self.body.decode(errors="replace")

    @property
    def content(self) -> Json:
        """The body as a JSON value where it is one, else as text."""
        return _parsed(self.body, self.text)

    def attribute(self, name: str) -> str | None:
        """An attribute of the CloudEvent as text; None if there is none."""
        value = (self.event or {}).get(name)
        return None if value is None else str(value)

    def datum(self, name: str) -> str | None:
        """A field of the CloudEvent's data as text; None if there is none."""
        data = (self.event or {}).get("data")
        value = data.get(name) if isinstance(data, dict) else None
        return None if value is None else str(value)


def read_message(headers: Mapping[str, str], body: bytes) -> Message:
    """Read a request. Args: `headers` by any spelling of their names."""
    content_type = headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/cloudevents+json":
        event = _parsed(body, None)
        if (problem := _problem(event)) is not None:
            return Message("raw", content_type, body, problem=f"it is called a CloudEvent, and {problem}")
        return Message("structured", content_type, body, event)
    if headers.get(f"{PREFIX}specversion") is not None:
        found: dict[str, Json] = {
            name.lower().removeprefix(PREFIX): unquote(value)
            for name, value in headers.items()
            if name.lower().startswith(PREFIX)
        }
        if (problem := _problem(found)) is not None:
            return Message("raw", content_type, body, problem=f"its headers are a CloudEvent's, and {problem}")
        if content_type:
            found["datacontenttype"] = content_type
        found["data"] = _parsed(body, body.decode(errors="replace"))
        return Message("binary", content_type, body, found)
    return Message("raw", content_type, body)


def _problem(event: Json) -> str | None:
    if not isinstance(event, dict):
        return "the body is no JSON object"
    missing = [name for name in NEEDED if not isinstance(event.get(name), str) or not event[name]]
    return f"there is no {' and no '.join(missing)} in it" if missing else None


def _parsed(body: bytes, otherwise: Json) -> Json:
    try:
        value: Json = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return otherwise
    return value


def _refuse(constant: str) -> Json:
    raise ValueError(f"{constant} is no JSON")
