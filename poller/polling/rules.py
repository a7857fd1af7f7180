"""What the `[[watch]]` tables of one scope take: which runs, which lists show them, and who of them is told what.

Each table is a rule of its own, and what is followed is the union: a run that several of them take is followed once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from poller.core.lists import WHOLE, Part
from poller.core.runs import EmitFirst, Snapshot

MOST_BATCH_LISTS: Final = 4
"""Batches up to which each has lists of its own; more of them are found in the lists of the whole account."""
_QUIETEST_FIRST: Final[tuple[EmitFirst, ...]] = ("never", "terminal", "always")


class Match(IntEnum):
    """Whether a run is a watch's."""

    NO = 0
    MAYBE = 1
    """But for its tags, which no list shows."""
    YES = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """What one `[[watch]]` says. `groups`, `name_prefix`, `workflows` and `tags` narrow discovery; ids are bare."""

    discover: bool = False
    groups: tuple[str, ...] = ()
    name_prefix: str = ""
    emit_first: EmitFirst = "always"
    batches: tuple[str, ...] = ()
    run_ids: frozenset[str] = frozenset()
    workflows: tuple[str, ...] = ()
    tags: frozenset[tuple[str, str]] = frozenset()

    def match(self, shown: Snapshot, group: str | None = None) -> Match:
        """Whether a run that nobody named is this watch's, by what an answer shows. `group` is that of the list it was.

        Items do not tell their group: only the lists of the groups do, and GetRun. Their tags GetRun alone tells.
        """
        fields = shown.fields
        if fields.get("batchId") in self.batches:
            return Match.YES
        fits = (
            self.discover
            and (not self.groups or (fields.get("runGroupId") if shown.full else group) in self.groups)
            and str(fields.get("name", "")).startswith(self.name_prefix)
            and (not self.workflows or fields.get("workflowId") in self.workflows)
        )
        if not fits or not self.tags:
            return Match.YES if fits else Match.NO
        if not shown.full:
            return Match.MAYBE
        tags: Mapping[str, str] = fields.get("tags") or {}
        return Match.YES if self.tags <= tags.items() else Match.NO

    def covers(self, other: "Rule") -> bool:
        """Whether the lists of the whole account show this watch all that `other` discovers."""
        workflows = not self.workflows or (bool(other.workflows) and set(other.workflows) <= set(self.workflows))
        named = other.name_prefix.startswith(self.name_prefix)
        return self.discover and not self.groups and named and workflows and self.tags <= other.tags


class Rules:
    """All that is watched in one scope: a rule for each `[[watch]]`."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self.discover = any(rule.discover for rule in self.rules)
        self.batches = tuple(dict.fromkeys(batch for rule in self.rules for batch in rule.batches))
        self.run_ids = frozenset[str]().union(*(rule.run_ids for rule in self.rules))
        self.parts = self._parts()

    @property
    def reads_lists(self) -> bool:
        """Whether lists are read for what nobody has named."""
        return self.discover or bool(self.batches)

    def match(self, shown: Snapshot, group: str | None = None) -> Match:
        """Whether a run is any watch's, by what an answer shows of it."""
        return max((rule.match(shown, group) for rule in self.rules), default=Match.NO)

    def takers(self, shown: Snapshot, group: str | None = None) -> tuple[Rule, ...]:
        """The watches that take a run, by what an answer shows of it."""
        return tuple(rule for rule in self.rules if rule.match(shown, group) is Match.YES)

    def of_batch(self, batch_id: str) -> tuple[Rule, ...]:
        """The watches that follow a batch."""
        return tuple(rule for rule in self.rules if batch_id in rule.batches)

    def _parts(self) -> tuple[Part, ...]:
        """What the lists are narrowed to: the groups, and a few batches; the whole account where a watch needs it.

        Beside the whole account the lists of a group are read where no watch of the whole account covers it.
        """
        whole = [rule for rule in self.rules if rule.discover and not rule.groups]
        grouped = [rule for rule in self.rules if rule.discover and not any(one.covers(rule) for one in whole)]
        groups = dict.fromkeys(Part(group=one) for rule in grouped for one in rule.groups)
        if whole or len(self.batches) > MOST_BATCH_LISTS:
            return (WHOLE, *groups)
        return (*groups, *(Part(batch=one) for one in self.batches)) or (WHOLE,)


def loudest(choices: Iterable[EmitFirst]) -> EmitFirst:
    """What counts where several watches say what is told first: the most talkative one."""
    return max(choices, key=_QUIETEST_FIRST.index, default="never")
