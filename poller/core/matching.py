"""What a sink's `match` asks of an event: the name, tags, workflow, group and so on of the run that it is about.

Pure. A match is a table of the configuration, read here as it is written: one value or a list for each key. It is held
against `data` as it is recorded, before anything is left out for a sink.
"""

import re
from collections.abc import Iterator, Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema, model_validator

from poller.core.batches import BATCH_TYPES
from poller.core.events import COHORT_FINISHED, POLLER_PREFIX, RUN_PREFIX, STATUS_TYPES
from poller.core.runs import Json
from poller.core.statuses import ACTIVE, ENDS

_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("name", "cohort"),
    "workflow": ("workflow_id", "workflow_name"),
    "group": ("run_group_id",),
    "batch": ("batch_id",),
    "cohort": ("cohorts", "cohort"),
    "status": ("status",),
    "failure_reason": ("failure_reason",),
    "account": ("account_id",),
    "region": ("region",),
}
"""The key of a match -> the fields of `data` that it is held against; one that fits is enough."""
_ANY_CASE: Final = frozenset({"status", "failure_reason"})
_NOT_OF_BATCHES: Final = frozenset({"workflow", "group", "cohort"})
_OF_COHORTS: Final = frozenset({"name", "batch", "cohort"})
_WITHOUT_STATUS: Final = frozenset(RUN_PREFIX + word for word in ("vanished", "unreachable", "replaced"))
_STATUSES: Final[Mapping[str, tuple[str, ...]]] = {
    f"{RUN_PREFIX}overdue": ACTIVE,
    f"{RUN_PREFIX}diagnosed": ("FAILED",),
    f"{RUN_PREFIX}contradicted": tuple(sorted(ENDS)),
}


def _several(value: Any) -> Any:
    """One value is a list of one."""
    values = (value,) if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
        raise ValueError('expected text, in quotes, or a list of texts, such as "lab-*" or ["lab-*", "clinic-*"]')
    if not values:
        raise ValueError("an empty list fits nothing; leave the key out instead")
    return tuple(values)


Globs = Annotated[
    tuple[str, ...],
    BeforeValidator(_several),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
    ),
]
"""Texts of which one must fit: each a glob, with * for anything, ? for one letter, [ab] for one of these."""


class Match(BaseModel, extra="forbid", frozen=True):
    """Which runs a sink is told of: all keys that are given must fit. Each is one value or a list, values are globs."""

    name: Globs | None = Field(None, description="Its name: that of the run, of the batch, or of the cohort.")
    tags: dict[str, Globs] = Field({}, description='Its tags, all of these: { project = "x" }; "*" is any value.')
    workflow: Globs | None = Field(None, description="Its workflow, by id or by name.")
    group: Globs | None = Field(None, description="Its run group, by id.")
    batch: Globs | None = Field(None, description="Its batch, by id.")
    cohort: Globs | None = Field(None, description="A [[cohort]] that it fits, or that has finished, by name.")
    status: Globs | None = Field(None, description="Its status now, such as FAILED.")
    failure_reason: Globs | None = Field(None, description="Its code of a failure, such as RUN_TASK_FAILED.")
    account: Globs | None = Field(None, description="Its account, by id.")
    region: Globs | None = Field(None, description="Its region.")

    @model_validator(mode="after")
    def _asks_for_something(self) -> "Match":
        if not any(True for _ in self.asked()):
            raise ValueError("an empty table fits every run; give it a key, or take it out")
        return self

    def asked(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The keys that are given, with their values; a tag as `tags.project`."""
        for key in _FIELDS:
            if (values := getattr(self, key)) is not None:
                yield key, values
        for tag, values in self.tags.items():
            yield f"tags.{tag}", values

    def why_not(self, data: Mapping[str, Json]) -> str | None:
        """Every key that does not fit, as one sentence; None if all of them do."""
        misfits = [said for key, values in self.asked() if (said := _misfit(key, values, data)) is not None]
        return ", and ".join(misfits) or None

    def never(self, event_type: str) -> str | None:
        """Why no event of this type can ever fit, as far as its type tells; None if one can."""
        for key, values in self.asked():
            if not _has(event_type, key.partition(".")[0]):
                return f"such events have no {key}"
            possible = _statuses(event_type) if key == "status" else None
            if possible is not None and not any(_fits(key, values, one) for one in possible):
                return f"their status is {' or '.join(possible)}, {_not(values)}"
        return None


def is_matched(event_type: str) -> bool:
    """Whether `match` has a say in events of this type: what the poller says of itself is about no run."""
    return not event_type.startswith(POLLER_PREFIX)


def is_glob(text: str) -> bool:
    """Whether a text stands for others than itself."""
    return any(sign in text for sign in "*?[")


def _misfit(key: str, values: tuple[str, ...], data: Mapping[str, Json]) -> str | None:
    if key.startswith("tags."):
        tags = data.get("tags")
        known = tags.get(key.removeprefix("tags.")) if isinstance(tags, Mapping) else None
        found = [] if known is None else [known]
    else:
        found = [one for name in _FIELDS[key] for one in _values(data.get(name))]
    if any(_fits(key, values, str(value)) for value in found):
        return None
    is_now = ", ".join(map(_quoted, found)) if found else "not known"
    return f"{key} is {is_now}, {_not(values)}"


def _values(value: Json) -> list[Json]:
    """What a field says: nothing, one value, or several."""
    return [] if value is None else value if isinstance(value, list) else [value]


def _fits(key: str, values: tuple[str, ...], found: str) -> bool:
    return any(_pattern(value, key in _ANY_CASE).fullmatch(found) for value in values)


@lru_cache(maxsize=4096)
def _pattern(glob: str, any_case: bool) -> re.Pattern[str]:
    return re.compile(translate(glob), re.IGNORECASE if any_case else 0)


def _not(values: tuple[str, ...]) -> str:
    return f"not {_quoted(values[0])}" if len(values) == 1 else f"none of {', '.join(map(_quoted, values))}"


def _quoted(value: object) -> str:
    return f'"{value}"'


def _has(event_type: str, key: str) -> bool:
    """Whether an event of this type can say something of this key."""
    if event_type == COHORT_FINISHED:
        return key in _OF_COHORTS
    if event_type in BATCH_TYPES and key in _NOT_OF_BATCHES:
        return False
    if key == "failure_reason" and event_type in (*STATUS_TYPES, *BATCH_TYPES):
        return event_type.endswith(".failed")
    return key != "status" or event_type not in _WITHOUT_STATUS


def _statuses(event_type: str) -> tuple[str, ...] | None:
    """The statuses that events of this type can have; None if their type does not tell."""
    if event_type in (*STATUS_TYPES, *BATCH_TYPES):
        return (event_type.rpartition(".")[2].upper(),)
    return _STATUSES.get(event_type)
