"""The `[[sinks]]` tables: which model reads each, by its type, and what several keys of them get wrong together.

The keys of a type live beside its sink, here or in another package: this module knows none of them, and whatever every
sink can be told is `SinkSettings` (`core/values.py`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Protocol, cast, runtime_checkable

from pydantic import BeforeValidator, SerializeAsAny, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from poller.core.errors import ConfigError
from poller.core.values import SinkSettings
from poller.settings.event_names import misspelt_event
from poller.settings.lines import KeyPath
from poller.settings.problems import Doubt, Problem


class SinkCatalogue(Protocol):
    """The sink types that are installed; the module `poller.sinks.registry` is one."""

    def sink_types(self) -> Collection[str]: ...

    def load_sink(self, name: str, /) -> Any:
        """The sink's class; its `settings_model` says what its table may hold.  Raises: ConfigError."""
        ...


def installed_sinks() -> SinkCatalogue:
    """The catalogue of what is installed: ours, and what other packages add."""
    from poller.sinks import registry  # here: entry points are read only when a configuration is

    return cast(SinkCatalogue, registry)


class RememberedCatalogue:
    """A catalogue that is asked once: looking through what is installed takes milliseconds, and there are many keys."""

    def __init__(self, catalogue: SinkCatalogue) -> None:
        self.catalogue = catalogue
        self.loaded: dict[str, Any] = {}

    @cached_property
    def types(self) -> tuple[str, ...]:
        return tuple(self.catalogue.sink_types())

    def sink_types(self) -> tuple[str, ...]:
        return self.types

    def load_sink(self, name: str, /) -> Any:
        if name not in self.loaded:
            self.loaded[name] = self.catalogue.load_sink(name)
        return self.loaded[name]


def sink_model(kind: str, catalogue: SinkCatalogue) -> type[SinkSettings]:
    """What the table of a sink of this type may hold.

    Raises: LookupError if there is no such type, ImportError, saying why, if it cannot be used.
    """
    if kind not in catalogue.sink_types():
        raise LookupError(kind)
    try:
        return cast(type[SinkSettings], catalogue.load_sink(kind).settings_model)
    except ConfigError as error:
        raise ImportError(str(error)) from error


def _sink(value: Any, info: ValidationInfo) -> Any:
    """A sink's table, read by the model of its type."""
    if isinstance(value, SinkSettings) or not isinstance(value, Mapping):
        return value
    kind = value.get("type")
    catalogue = (info.context or {}).get("catalogue") or installed_sinks()
    if not isinstance(kind, str):
        code = "string_type" if "type" in value else "missing"
        raise _at_type(InitErrorDetails(type=code, loc=("type",), input=kind))
    try:
        model = sink_model(kind, catalogue)
    except LookupError:
        types = ", ".join(sorted(catalogue.sink_types()))
        wrong = PydanticCustomError("sink_type", "{expected}", {"expected": types})
        raise _at_type(InitErrorDetails(type=wrong, loc=("type",), input=kind)) from None
    except ImportError as error:
        broken = PydanticCustomError("sink_broken", "{reason}", {"reason": str(error)})
        raise _at_type(InitErrorDetails(type=broken, loc=("type",), input=kind)) from None
    return model.model_validate(value, context=info.context)


def _at_type(details: InitErrorDetails) -> ValidationError:
    return ValidationError.from_exception_data("sink", [details])


AnySink = Annotated[SerializeAsAny[SinkSettings], BeforeValidator(_sink)]


def stand_in(item: Any, index: int) -> SinkSettings:
    """For a sink that misses something: what all sinks can be told, as far as it is right."""
    if isinstance(item, SinkSettings):
        return item
    common = {key: item[key] for key in SinkSettings.model_fields if key in item} if isinstance(item, Mapping) else {}
    try:
        return SinkSettings.model_validate(common)
    except ValidationError:
        return SinkSettings.model_construct(name=f"number {index + 1}", type="")


def no_such_sink(name: str, known: Iterable[str]) -> str:
    """What is said wherever a name is that of no sink: which one it most likely means, else which there are."""
    names = list(dict.fromkeys(known))
    near = get_close_matches(name, names, n=1) or [one for one in names if one.lower() == name.lower()]
    there = f"there are {', '.join(names)}" if names else "there is none"
    meant = f'did you mean "{near[0]}"?' if near else there
    return f'there is no sink "{name}"; {meant}'


def sink_problems(sinks: Sequence[SinkSettings]) -> Iterator[Problem]:
    """What is wrong with sinks whose keys are right one by one."""
    for rule in (_names, _times, _fallbacks, _events, _by_itself):
        yield from rule(sinks)


def _names(sinks: Sequence[SinkSettings]) -> Iterator[Problem]:
    names = [sink.name for sink in sinks]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem(
                ("sinks", index, "name"),
                f'another sink is named "{name}" too; deliveries are owed to names, so they must differ',
                (("sinks", names.index(name), "name"),),
            )


def _times(sinks: Sequence[SinkSettings]) -> Iterator[Problem]:
    for index, sink in enumerate(sinks):
        for key in ("timeout", "max_age"):
            if getattr(sink, key) <= timedelta(0):
                yield Problem(("sinks", index, key), "must be longer than 0")
        for place, wait in enumerate(sink.retry_waits or ()):
            if wait <= timedelta(0):
                yield Problem(("sinks", index, "retry_waits", place), "must be longer than 0")


def _fallbacks(sinks: Sequence[SinkSettings]) -> Iterator[Problem]:
    """A fallback is another sink, and no chain of them leads back to where it began."""
    fallback_of = {sink.name: sink.fallback for sink in sinks}
    for index, sink in enumerate(sinks):
        if sink.fallback is None:
            continue
        path: KeyPath = ("sinks", index, "fallback")
        if sink.fallback not in fallback_of:
            yield Problem(path, no_such_sink(sink.fallback, (name for name in fallback_of if name != sink.name)))
            continue
        chain = [sink.name]
        while (after := fallback_of.get(chain[-1])) is not None and after not in chain:
            chain.append(after)
        if after == sink.name:
            yield Problem(path, f"leads back to this sink: {' -> '.join([*chain, sink.name])}")


def _events(sinks: Sequence[SinkSettings]) -> Iterator[Problem]:
    for index, sink in enumerate(sinks):
        for place, name in enumerate(sink.events or ()):
            if said := misspelt_event(name):
                yield Problem(("sinks", index, "events", place), said)


@runtime_checkable
class SelfChecking(Protocol):
    """Settings of a sink that can say what several of their keys, each right by itself, get wrong."""

    def problems(self) -> Iterable[tuple[KeyPath, str]]:
        """The key, as a path within the sink's table, and what is wrong with it."""
        ...


def _by_itself(sinks: Sequence[SinkSettings]) -> Iterator[Problem]:
    for index, sink in enumerate(sinks):
        if isinstance(sink, SelfChecking):
            for path, said in sink.problems():
                yield Problem(("sinks", index, *path), said)


@runtime_checkable
class Doubtful(Protocol):
    """Settings of a sink that can say what works and will not for long, or is not what was meant."""

    def warnings(self, directory: Path, now: datetime) -> Iterable[str]:
        """Sentences that begin with a key. Args: `directory` is what relative paths are relative to."""
        ...


def sink_warnings(sinks: Sequence[SinkSettings], directory: Path, now: datetime) -> list[Doubt]:
    """What sinks have to say of their settings, and of the files that these name."""
    return [
        Doubt(f'[[sinks]] "{sink.name}" {said}', ("sinks", index, said.partition(":")[0]))
        for index, sink in enumerate(sinks)
        if isinstance(sink, Doubtful)
        for said in sink.warnings(directory, now)
    ]
