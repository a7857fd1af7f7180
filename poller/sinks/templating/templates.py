"""The templates of one sink: compiled, tried against a sample of every event that the sink takes, and rendered."""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from types import NoneType
from typing import Any, Final, get_args

from pydantic import BaseModel

from poller.core.batches import BATCH_TYPES
from poller.core.event_data import BatchData, CohortData, PollerData, RunData
from poller.core.events import COHORT_FINISHED, EVENT_TYPES, POLLER_TYPES, Event, bytes_of, short_type
from poller.core.routing import Route
from poller.core.runs import Json
from poller.core.samples import sample_event
from poller.sinks.formats import FormattedSettings, percent_encoded
from poller.sinks.templating.bounds import TemplateError
from poller.sinks.templating.rendering import Rendering

VARIABLES: Final = ("event", "data", "kind")
LONGEST_HEADER: Final = 4096
_NOT_IN_HEADERS: Final = re.compile(r"[^ -~]")
AWKWARD: Final = 'a "quoted" \\ name'
"""What a name may hold, and breaks JSON that is written without `tojson`."""
MOST_NAMED: Final = 3
"""Kinds of events that a sentence names."""

Key = tuple[str, ...]


class PartError(Exception):
    """One template of a sink failed: which, where in it, and why."""

    def __init__(self, key: Key, reason: str, line: int | None, file: str | None) -> None:
        self.key = key
        self.reason = reason
        self.place = "" if line is None else f"{file}:{line}: " if file else f"line {line}: "
        super().__init__(f"{'.'.join(key)}: {self.place}{reason}")


class Templates:
    """Every template that settings name. Nothing is compiled before it is needed."""

    def __init__(self, settings: FormattedSettings) -> None:
        self._settings = settings
        self._texts = settings.template_texts()
        self._file = str(settings.template_file.path) if settings.template_file is not None else None

    @cached_property
    def _compiled(self) -> dict[Key, Rendering]:
        """Raises: PartError for the first that cannot be compiled."""
        return {key: self._compile(key, text) for key, text in self._texts.items()}

    def _compile(self, key: Key, text: str) -> Rendering:
        try:
            return Rendering(text, VARIABLES)
        except TemplateError as error:
            raise self._failed(key, error) from None

    def render(self, event: Event) -> tuple[str, str | None, dict[str, str]]:
        """Body, content type (None: the usual one) and headers of an event. Raises: PartError."""
        variables = variables_of(event)
        made: dict[Key, str] = {}
        for key, template in self._compiled.items():
            try:
                made[key] = template(variables)
            except TemplateError as error:
                raise self._failed(key, error) from None
            if key not in _BODIES:
                made[key] = self._header(key, made[key])
        body = next(text for key, text in made.items() if key in _BODIES)
        headers = {key[1]: text for key, text in made.items() if key[0] == "template_headers"}
        return body, made.get(("content_type",)), headers

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Templates that cannot be compiled, and those that fail with a sample of an event that the sink takes."""
        try:
            _ = self._compiled
        except PartError:
            for key, text in self._texts.items():
                try:
                    self._compile(key, text)
                except PartError as error:
                    yield error.key, error.place + error.reason
            return
        samples = self._samples()
        for (key, said), kinds in self._failures(samples).items():
            if len(kinds) == len(samples):
                yield key, said
            else:
                hint = "let events take only what it is made for, or ask for kind in it"
                yield key, f"fails with {_listed(kinds)}: {said}; {hint}"

    def doubts(self) -> Iterator[str]:
        """What does well with the samples, and will not with every event."""
        bare = [_bare(event) for event in self._samples()]
        for (key, said), kinds in self._failures(bare).items():
            yield (
                f"{'.'.join(key)}: fails where something is not known, or there are no tags ({_listed(kinds)}), and "
                f"such an event is a dead letter: {said}; write | default(…)"
            )
        yield from self._no_json()

    def _no_json(self) -> Iterator[str]:
        for event in self._samples():
            for awkward in (event, _awkward(event)):
                try:
                    body, content_type, _ = self.render(awkward)
                except PartError:
                    continue
                if "json" not in (content_type or ""):
                    continue
                try:
                    json.loads(body)
                except ValueError as error:
                    reason = "" if awkward is event else " where a name holds quotation marks; write {{ … | tojson }}"
                    where = str(error).partition(":")[0]
                    yield f"{'.'.join(next(iter(self._texts)))}: makes no JSON of {event.kind}{reason} ({where})"
                    return

    def _samples(self) -> list[Event]:
        """A sample of every type that the sink can get, without what it omits."""
        route = Route.of(self._settings)
        kinds = [kind for kind in EVENT_TYPES if route.never(kind) is None]
        return [sample_event(kind).without(self._settings.omit) for kind in kinds]

    def _failures(self, events: Sequence[Event]) -> dict[tuple[Key, str], list[str]]:
        """What fails, and with which kinds of events."""
        found: dict[tuple[Key, str], list[str]] = {}
        for event in events:
            try:
                self.render(event)
            except PartError as error:
                found.setdefault((error.key, error.place + error.reason), []).append(event.kind)
        return found

    def _header(self, key: Key, text: str) -> str:
        """A text as a header holds it; what none can hold, line breaks and letters beyond ASCII, percent-encoded."""
        text = percent_encoded(text.strip(), _NOT_IN_HEADERS)
        if len(text) > LONGEST_HEADER:
            raise PartError(key, f"makes a header of more than {LONGEST_HEADER // 1024} KiB", None, None)
        return text

    def _failed(self, key: Key, error: TemplateError) -> PartError:
        return PartError(key, error.reason, error.line, self._file if key == ("template_file",) else None)


_BODIES: Final = frozenset({("template",), ("template_file",)})


def variables_of(event: Event) -> dict[str, Any]:
    """What a template can name: the event as it is, its `data` with every field that it could have, and its kind."""
    data = {**dict.fromkeys(_model_of(event.type).model_fields), **event.data}
    return {"event": event.attributes, "data": data, "kind": event.kind}


def _model_of(event_type: str) -> type[BaseModel]:
    if event_type in POLLER_TYPES:
        return PollerData
    if event_type in BATCH_TYPES:
        return BatchData
    return CohortData if event_type == COHORT_FINISHED else RunData


def _bare(event: Event) -> Event:
    """The event of something of which hardly anything is known."""
    fields = _model_of(event.type).model_fields
    data: dict[str, Json] = {}
    for name, value in event.data.items():
        nullable = name not in fields or NoneType in get_args(fields[name].annotation)
        data[name] = None if nullable and name not in _BY_TYPE else value
    return Event(bytes_of({**event.attributes, "data": data}))


def _awkward(event: Event) -> Event:
    """The event of a run with an awkward name and message."""
    texts = {name: AWKWARD for name in ("name", "status_message", "detail") if event.data.get(name) is not None}
    return Event(bytes_of({**event.attributes, "data": {**event.data, **texts}}))


_BY_TYPE: Final = frozenset({"status", "previous_status", "overdue", "subject", "cause"})
"""What can be null, and of some types of events never is."""


def _listed(kinds: Sequence[str]) -> str:
    names = [short_type(kind) for kind in kinds]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
