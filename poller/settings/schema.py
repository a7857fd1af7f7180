"""The JSON Schema of a configuration file, for editors and for `omics-poller schema config`.

It describes the file as it is written, before `${…}` is replaced, with the sink types that are installed here. What
keys get wrong together it cannot say: `omics-poller check` does.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from poller.core.values import SinkSettings, format_duration
from poller.settings.model import Settings
from poller.settings.sinks import SinkCatalogue, installed_sinks, sink_model

Schema = dict[str, Any]

_REFERENCE: Final[Schema] = {
    "type": "string",
    "pattern": r"\$\{[^{}]+\}",
    "description": "${VARIABLE} of the environment, or ${file:path} for the content of a file.",
}
_ANNOTATIONS: Final = ("title", "description", "default", "examples", "deprecated")


def config_schema(catalogue: SinkCatalogue | None = None) -> Schema:
    """The schema, JSON Schema draft 2020-12."""
    catalogue = catalogue or installed_sinks()
    kinds = _sink_models(catalogue)
    refs, shared = models_json_schema(
        [(Settings, "validation"), *((model, "validation") for model in kinds.values())], schema_generator=_Generator
    )
    definitions: dict[str, Schema] = shared["$defs"]
    settings = definitions.pop(_name(refs[(Settings, "validation")]))
    for kind, model in kinds.items():
        table = definitions[_name(refs[(model, "validation")])]
        definitions[f"sink-{kind}"] = table | {
            "properties": table["properties"] | {"type": {"const": kind, "description": "The kind of sink."}},
            "description": (model.__doc__ or "").strip().split("\n")[0],
        }
    properties = settings["properties"]
    for name in ("aws", "watch"):
        many = properties[name]
        several = {"type": "array", "items": many["items"]}
        properties[name] = {"description": many["description"], "anyOf": [many["items"], several]}
    sinks: Schema = {"anyOf": [{"$ref": f"#/$defs/sink-{kind}"} for kind in sorted(kinds)]}
    properties["sinks"] = properties["sinks"] | {"items": sinks if kinds else False}
    whole = _as_written(settings) | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of omics-poller",
        "description": "Durations are texts such as 30s, 5m, 2h, or numbers of seconds.",
        "$defs": {name: _as_written(definition) for name, definition in definitions.items()}
        | {"reference": _REFERENCE},
    }
    whole["$defs"] = {name: whole["$defs"][name] for name in sorted(_used(whole))}
    return whole


def _sink_models(catalogue: SinkCatalogue) -> dict[str, type[BaseModel]]:
    """The models of all sink types that load; of one that has no schema, what every sink can be told."""
    found: dict[str, type[BaseModel]] = {}
    for kind in catalogue.sink_types():
        try:
            model = sink_model(kind, catalogue)
        except (LookupError, ImportError):
            continue  # what does not load cannot be configured either
        try:
            model.model_json_schema()
        except PydanticInvalidForJsonSchema:
            model = _Open
        found[kind] = model
    return found


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Durations as one writes them, and not in ISO 8601."""
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


class _Open(SinkSettings, extra="allow"):
    """A sink whose own keys cannot be described."""


def _name(reference: Mapping[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _as_written(schema: Schema) -> Schema:
    """A value as a file may hold it: never null, which TOML does not have, and `${…}` where a text is not free."""
    schema = {key: value for key, value in schema.items() if key != "title" and not _no_default(key, value)}
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option != {"type": "null"}]
        if len(options) == 1:
            return _as_written({key: value for key, value in schema.items() if key != "anyOf"} | options[0])
        open_already = any(_any_text(option) for option in options)
        return schema | {"anyOf": options if open_already else [_as_written(option) for option in options]}
    if schema.get("type") == "object":
        inside = {key: _as_written(value) for key, value in schema.get("properties", {}).items()}
        return schema | ({"properties": inside} if inside else {})
    if schema.get("type") == "array":
        return schema | ({"items": _as_written(schema["items"])} if isinstance(schema.get("items"), dict) else {})
    if "$ref" in schema or "const" in schema or "type" not in schema or _any_text(schema):
        return schema
    said = {key: value for key, value in schema.items() if key in _ANNOTATIONS}
    narrow = {key: value for key, value in schema.items() if key not in _ANNOTATIONS}
    return said | {"anyOf": [narrow, {"$ref": "#/$defs/reference"}]}


def _any_text(schema: Schema) -> bool:
    return schema.get("type") == "string" and set(schema) <= {"type", "format", "writeOnly", *_ANNOTATIONS}


def _no_default(key: str, value: Any) -> bool:
    """Whether this is a default that says nothing, or that its own keys say already."""
    tables = isinstance(value, list) and any(isinstance(item, dict) for item in value)
    return key == "default" and (value is None or isinstance(value, dict) or tables)


def _used(schema: Any) -> set[str]:
    """The definitions that are referred to, from the root on."""
    used: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str) and (name := reference.rpartition("/")[2]) not in used:
                used.add(name)
                walk(schema["$defs"][name])
            for key, item in value.items():
                if key != "$defs":
                    walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(schema)
    return used
