"""What the `[[watch]]` tables of one scope take: which runs, which lists show them, and who of them is told what.

Each table is a rule of its own, and what is followed is the union: a run that several of them take is followed once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Final

from poller.core.cadence import DEFAULT_PACE, Pace
from poller.core.claims import Claim
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
    """What one `[[watch]]` says. `groups`, `name_prefix`, `workflows` and `tags` narrow discovery; ids are bare.

    Without an interval of its own its runs are asked about as often as the pace of the scope says.
    """

    discover: bool = False
    groups: tuple[str, ...] = ()
    name_prefix: str = ""
    emit_first: EmitFirst = "always"
    batches: tuple[str, ...] = ()
    run_ids: frozenset[str] = frozenset()
    workflows: tuple[str, ...] = ()
    tags: frozenset[tuple[str, str]] = frozenset()
    min_interval: timedelta | None = None
    max_interval: timedelta | None = None

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
    """All that is watched in one scope: a rule for each `[[watch]]`. Args: `pace` is that of the scope."""

    def __init__(self, rules: Iterable[Rule], pace: Pace = DEFAULT_PACE) -> None:
        self.rules = tuple(rules)
        self.pace = pace
        self._claims: dict[int, Claim] = {}
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

    @property
    def tell_apart(self) -> bool:
        """Whether it matters which watches take a run: there are several, or one with intervals of its own."""
        own = any(rule.min_interval is not None or rule.max_interval is not None for rule in self.rules)
        return own or len(self.rules) > 1

    @property
    def common(self) -> Claim:
        """What holds for runs that no watch takes, but that a command asked for."""
        return self._claim(0)

    @property
    def shortest(self) -> timedelta:
        """The shortest wait between two looks that any run may have."""
        return min((self.common.low, *(self._claim(1 << place).low for place in range(len(self.rules)))))

    @property
    def of_lists(self) -> Claim:
        """How often what is new is looked for: as the watches want it that find their runs in lists."""
        return self._claim(sum(1 << place for place, rule in enumerate(self.rules) if rule.discover or rule.batches))

    def claim(
        self,
        run_id: str,
        shown: Snapshot | None = None,
        *,
        group: str | None = None,
        batch_id: str | None = None,
        least: Match = Match.YES,
    ) -> Claim:
        """What the watches want of a run: of those the shortest interval that take it, by what is known of it.

        Args: `shown` is an answer that shows it, `group` that of the list it was; `batch_id` the batch that named it;
        with `least` MAYBE those count that may take it.
        """
        return self._claim(
            sum(
                1 << place
                for place, rule in enumerate(self.rules)
                if run_id in rule.run_ids
                or batch_id in rule.batches
                or (shown is not None and rule.match(shown, group) >= least)
            )
        )

    def claim_of_batch(self, batch_id: str) -> Claim:
        """How often a batch is asked about."""
        return self.claim("", batch_id=batch_id)

    def of_batch(self, batch_id: str) -> tuple[Rule, ...]:
        """The watches that follow a batch."""
        return tuple(rule for rule in self.rules if batch_id in rule.batches)

    def _claim(self, watches: int) -> Claim:
        if watches not in self._claims:
            takers = [rule for place, rule in enumerate(self.rules) if watches >> place & 1] or [Rule()]
            low = min(self.pace.min_interval if one.min_interval is None else one.min_interval for one in takers)
            high = min(self.pace.max_interval if one.max_interval is None else one.max_interval for one in takers)
            self._claims[watches] = Claim(watches, low, high)
        return self._claims[watches]

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
