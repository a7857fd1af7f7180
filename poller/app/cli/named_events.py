"""The events that options of a command name: on record by id or position, in a file, on standard input, or made up."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from poller.core.errors import ConfigError
from poller.core.events import Event, bytes_of
from poller.core.runs import Json

if TYPE_CHECKING:
    from poller.ports.store import Store

STANDARD_INPUT: Final = "-"
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a file of events: a thousand of them, and no record that was given by mistake."""
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_POSITION: Final = re.compile(r"[0-9]{1,18}")


def is_on_record(text: str) -> bool:
    """Whether a name is an id or a position, and no file. Raises: ConfigError for none at all."""
    if not text:
        raise ConfigError("--event: is empty; give an id or a position, a file, or - for standard input")
    return bool(_ID.fullmatch(text) or _POSITION.fullmatch(text)) and not Path(text).exists()


async def recorded_event(store: "Store", text: str) -> Event:
    """The event with this id or position. Raises: ConfigError if it is not on record."""
    if _ID.fullmatch(text):
        found = await store.events(event_id=text.lower(), limit=1)
    else:
        found = [one for one in await store.events(after=int(text) - 1, limit=1) if one.position == int(text)]
    if not found:
        raise ConfigError(f"--event {text!r}: not on record; `omics-poller events` lists what is")
    return found[0]


def written_events(text: str, needed: Sequence[str] = ("type", "data")) -> list[Event]:
    """The events in a file, or on standard input (`-`): one JSON document, or one a line, as `events --json` prints.

    Args: `needed` are the attributes that each must have.
    Raises: ConfigError, saying which line is none.
    """
    content = _content(text)
    try:
        documents = [(1, json.loads(content))]
    except ValueError:
        documents = [
            _line_of(text, number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()
        ]
    if not documents or not content.strip():
        raise ConfigError(f"--event {text!r}: is empty")
    return [_event(document, _at(text, number), needed) for number, document in documents]


def made_up_data(sample: Event, said: Mapping[str, Json]) -> dict[str, Json]:
    """The `data` of an event that there is none of yet: what is said of it, and what its type tells."""
    kept = {name: sample.data.get(name) for name in ("status", "subject") if name in sample.data}
    unknown: dict[str, Json] = dict.fromkeys(sample.data)
    if sample.run_id is not None:
        unknown["cohorts"] = None  # no sample has it, and a match may ask for it
    return unknown | kept | {name: value for name, value in said.items() if value is not None and name in unknown}


def _content(text: str) -> str:
    try:
        if text == STANDARD_INPUT:
            content = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with Path(text).open("rb") as file:
                content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise ConfigError(f"--event {text!r}: neither an id or position on record, nor a file") from None
    except OSError as error:
        raise ConfigError(f"--event {text!r}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise ConfigError(f"--event {text!r}: is larger than {LARGEST // 1024**2} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"--event {text!r}: is not UTF-8 text") from None


def _line_of(text: str, number: int, line: str) -> tuple[int, Any]:
    try:
        return number, json.loads(line)
    except ValueError:
        raise ConfigError(f"{_at(text, number)}: is no JSON; give an event as `events --json` prints it") from None


def _at(text: str, number: int) -> str:
    return f"--event {text!r} line {number}"


def _event(document: Any, where: str, needed: Sequence[str]) -> Event:
    from poller.app.cli.commands.events import event_types

    if not isinstance(document, dict):
        raise ConfigError(f"{where}: is no event, which is a JSON object")
    missing = [name for name in needed if document.get(name) in (None, "")]
    if missing:
        raise ConfigError(f"{where}: is no event: it has no {' and no '.join(missing)}")
    if not isinstance(document["data"], dict) or not isinstance(document["type"], str):
        raise ConfigError(f"{where}: is no event: type is text, and data an object")
    (event_type,) = event_types([document["type"]], option=f"{where}: type")[:1]
    return Event(bytes_of({"id": "", "source": "", "subject": "", **document, "type": event_type}))
