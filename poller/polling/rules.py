"""What the `[[watch]]` tables of one scope take: which runs, which lists show them, and who of them is told what.

Each table is a rule of its own, and what is followed is the union: a run that several of them take is followed once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from poller.core.lists import WHOLE, Part
from poller.core.runs import EmitFirst, Snapshot

MOST_BATCH_LISTS: Final = 4
"""Batches up to which each has lists of its own; more of them are found in the lists of the whole account."""
_QUIETEST_FIRST: Final[tuple[EmitFirst, ...]] = ("never", "terminal", "always")


@dataclass(frozen=True, slots=True)
class Rule:
    """What one `[[watch]]` says. `groups` and `name_prefix` narrow discovery; `run_ids` are bare ids."""

    discover: bool = False
    groups: tuple[str, ...] = ()
    name_prefix: str = ""
    emit_first: EmitFirst = "always"
    batches: tuple[str, ...] = ()
    run_ids: frozenset[str] = frozenset()

    def takes(self, shown: Snapshot, group: str | None = None) -> bool:
        """Whether a run is this watch's, by what an answer shows of it. `group` is the run group whose list it was.

        Items do not tell their group: only the lists of the groups do, and GetRun.
        """
        fields = shown.fields
        if shown.run_id in self.run_ids or fields.get("batchId") in self.batches:
            return True
        if self.groups and (fields.get("runGroupId") if shown.full else group) not in self.groups:
            return False
        return self.discover and str(fields.get("name", "")).startswith(self.name_prefix)

    def covers(self, other: "Rule") -> bool:
        """Whether the lists of the whole account show this watch all that `other` discovers."""
        return self.discover and not self.groups and other.name_prefix.startswith(self.name_prefix)


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

    def takers(self, shown: Snapshot, group: str | None = None) -> tuple[Rule, ...]:
        """The watches that take a run, by what an answer shows of it."""
        return tuple(rule for rule in self.rules if rule.takes(shown, group))

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
