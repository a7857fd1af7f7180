"""Which key of the settings a place in the data is: its model, its field, and whether what it holds is a secret."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from poller.core.values import SinkSettings
from poller.settings.lines import KeyPath, Step
from poller.settings.model import Settings
from poller.settings.sinks import SinkCatalogue, sink_model
from poller.settings.substitute import looks_secret


class Keys:
    """The places of one reading. Args: `data` is as written, with references replaced."""

    def __init__(self, data: Mapping[str, Any], catalogue: SinkCatalogue) -> None:
        self.data = data
        self.catalogue = catalogue

    def as_written(self, loc: Iterable[Step]) -> KeyPath:
        """The path in the data as it is written, of a place in the settings: `[aws]` needs no index."""
        path: KeyPath = ()
        value: Any = self.data
        for step in loc:
            if isinstance(value, Mapping):
                if isinstance(step, int):
                    continue
                path += (step,)
                if step not in value:
                    break
                value = value[step]
            elif isinstance(value, list | tuple):
                if not isinstance(step, int) or not 0 <= step < len(value):
                    break
                path += (step,)
                value = value[step]
            elif isinstance(value, BaseModel) and isinstance(step, str):
                path += (step,)
                value = getattr(value, step, None)
            else:
                break  # a union's branch, or the like: part of the same value
        return path

    def model_at(self, path: KeyPath) -> type[BaseModel] | None:
        """The model of the table that `path` leads to."""
        model: type[BaseModel] = Settings
        value: Any = self.data
        for step in path:
            value = item_at(value, step)
            if isinstance(value, SinkSettings):
                model = type(value)
            elif model is Settings and step == "sinks":
                model = SinkSettings
            elif isinstance(step, int):
                if path[0] == "sinks" and model is SinkSettings:
                    model = self.sink_model_of(value)
            else:
                described = model.model_fields.get(step)
                inner = model_in(described.annotation) if described else None
                if inner is None:
                    return None
                model = inner
        return model

    def sink_model_of(self, table: Any) -> type[SinkSettings]:
        """The model of a sink's table; what every sink can be told, where nobody knows its type."""
        kind = item_at(table, "type")
        try:
            return sink_model(kind, self.catalogue) if isinstance(kind, str) else SinkSettings
        except (LookupError, ImportError):
            return SinkSettings

    def field_at(self, path: KeyPath) -> FieldInfo | None:
        """The field that `path` leads to; for what is inside a list or a free table, the field around it."""
        while path:
            if isinstance(path[-1], str) and (model := self.model_at(path[:-1])) and path[-1] in model.model_fields:
                return model.model_fields[path[-1]]
            path = path[:-1]
        return None

    def find_secrets(self, value: Any, path: KeyPath) -> list[str]:
        """The values of all keys that are secrets by their type, or, where nobody knows the key, by their name."""
        if isinstance(value, SinkSettings):
            return [found for item in vars(value).values() for found in _secrets_in(item)]
        if isinstance(value, Mapping):
            return [found for key, item in value.items() for found in self.find_secrets(item, (*path, str(key)))]
        if isinstance(value, list | tuple):
            return [found for index, item in enumerate(value) for found in self.find_secrets(item, (*path, index))]
        if isinstance(value, SecretStr):
            return [value.get_secret_value()]
        return [value] if isinstance(value, str) and self.is_secret(path) else []

    def is_secret(self, path: KeyPath) -> bool:
        """Whether a value must not be shown: by the type of its key, or, where nobody knows the key, by its name."""
        for end in range(len(path), 0, -1):
            model, key, inside = self.model_at(path[: end - 1]), path[end - 1], path[end:]
            if isinstance(key, str) and model is not None and key in model.model_fields:
                described = model.model_fields[key]
                if model_in(described.annotation) is not None and any(isinstance(step, str) for step in inside):
                    break  # a table that has no such key
                return any(map(_mentions_secret, (described.annotation, *described.metadata)))
        return any(isinstance(step, str) and looks_secret(step) for step in path)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The one model in an annotation such as `tuple[AwsSettings, ...]` or `Auth | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        if (found := model_in(inner)) is not None:
            return found
    return None


def _mentions_secret(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return True
    return any(_mentions_secret(inner) for inner in get_args(annotation))


def _secrets_in(value: Any) -> Iterator[str]:
    """The secrets in a value of settings, which knows by itself what is one."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, Mapping):
        yield from _secrets_in(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets_in(item)


def item_at(value: Any, step: Step) -> Any:
    """What is there one step into a table, a list or a model; None if nothing is."""
    if isinstance(value, Mapping):
        return value.get(step)
    if isinstance(value, list | tuple) and isinstance(step, int) and 0 <= step < len(value):
        return value[step]
    return getattr(value, step, None) if isinstance(step, str) and isinstance(value, BaseModel) else None


def overlap(one: KeyPath, other: KeyPath) -> bool:
    """Whether one place is inside the other."""
    length = min(len(one), len(other))
    return one[:length] == other[:length]
