"""Scopes that prove to be one account and region: the first of them follows for all, the others rest.

Two tables may lead to one account: by two profiles, or by a role and a profile. That shows only once an account is
learned, from sts:GetCallerIdentity or from the first ARN. From then on one budget is spent, and one record is kept.
What both discover must be one rule; where there is none they go on apart, which costs calls and tells nothing twice,
since the ids of events do not depend on the scope.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import structlog

from poller.polling.discovery import Rule
from poller.ports import RunService

if TYPE_CHECKING:
    from poller.polling.loop import Scope

log = structlog.get_logger("poller.polling")

_TALKATIVE: Final = {"never": 0, "terminal": 1, "always": 2}


class Twins:
    """The scopes of one process, in the order of the configuration, and the accounts that they have shown so far."""

    def __init__(self, scopes: Sequence["Scope"]) -> None:
        self._scopes = scopes
        self._accounts: dict[str, str] = {}
        self._apart: set[tuple[str, str]] = set()

    def met(self, scope: "Scope", account_id: str) -> None:
        """A scope answers for this account: it rests with an earlier one that does too, and later ones rest with it."""
        self._accounts[scope.name] = account_id
        first, *others = (
            one
            for one in self._scopes
            if self._accounts.get(one.name) == account_id and one.place.region == scope.place.region
        )
        rule: Rule = first.rule
        for other in others:
            joint = joint_rule(rule, other.rule)
            if joint is None:
                self._leave_apart(other, first)
                continue
            rule = joint
            if other.keeper is not first:
                other.rest_with(first)

    def part(self) -> None:
        """Who rests begins anew, until it is met again: before what they watch changes."""
        for scope in self._scopes:
            scope.stand_alone()

    def _leave_apart(self, scope: "Scope", first: "Scope") -> None:
        if (scope.name, first.name) not in self._apart:
            self._apart.add((scope.name, first.name))
            log.warning(
                "scopes.apart",
                scope=scope.name,
                same_as=first.name,
                then="both ask the account, since no single [[watch]] could say what they discover",
            )


def joint_rule(one: Rule, other: Rule) -> Rule | None:
    """One rule that discovers what either does, no more and no less; None where there is none."""
    batches = tuple(dict.fromkeys(one.batches + other.batches))
    discovers = _joint_discovery(replace(one, batches=()), replace(other, batches=()))
    return None if discovers is None else replace(discovers, batches=batches)


def _joint_discovery(one: Rule, other: Rule) -> Rule | None:
    if one == other or not other.discover:
        return one
    if not one.discover:
        return other
    for wide, narrow in ((one, other), (other, one)):
        if _covers(wide, narrow):
            return wide
    if one.groups and other.groups and replace(one, groups=()) == replace(other, groups=()):
        return replace(one, groups=tuple(dict.fromkeys(one.groups + other.groups)))
    return None


def whole_rule(scope: "Scope") -> Rule:
    """What a scope discovers for itself and for those that rest with it."""
    rule = scope.rule
    for guest in scope.guests:
        rule = joint_rule(rule, guest.rule) or rule
    return rule


def whole_run_ids(scope: "Scope") -> frozenset[str]:
    """The runs that the configuration names for a scope and for those that rest with it."""
    return scope.run_ids.union(*(guest.run_ids for guest in scope.guests))


async def take_over(scope: "Scope") -> None:
    """Have the record hold under this scope's name what it holds under those of its guests; again and again is once.

    Discovery goes on from the earlier of their marks, so that nothing that either would have told is left out. The mark
    of a guest that rested before the last stop, too, is where its runs are: with this scope, which went on for it.
    """
    rule = scope.rule
    for guest in scope.guests:
        marks = []
        went_on = rule.discover or (guest.rule.discover and guest.rested_before)
        for name, discovers in ((scope.name, went_on), (guest.name, guest.rule.discover)):
            state = await scope.gate.insist(partial(scope.store.scope, name))
            if discovers and state is not None and state.discovered_through is not None:
                marks.append(state.discovered_through)
        move = partial(scope.store.merge_scopes, guest.name, scope.name, discovered_through=min(marks, default=None))
        await scope.gate.insist(move)
        rule = joint_rule(rule, guest.rule) or rule


def service_of(own: RunService, guests: Iterable["Scope"]) -> RunService:
    """Whom a scope asks: through its own credentials, or its guests' while its own are refused."""
    others = [guest.own_service for guest in guests]
    return cast(RunService, _Alternating([own, *others])) if others else own


class _Alternating:
    """A RunService over several that lead to one account: to `renew` it, which is done in blindness, tries the next."""

    def __init__(self, services: Sequence[RunService]) -> None:
        self._services = services
        self._turn = 0

    async def renew(self) -> None:
        self._turn = (self._turn + 1) % len(self._services)
        await self._services[self._turn].renew()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._services[self._turn], name)


def _covers(wide: Rule, narrow: Rule) -> bool:
    """Whether all that `narrow` tells `wide` tells too."""
    groups = not wide.groups or (bool(narrow.groups) and set(narrow.groups) <= set(wide.groups))
    louder = _TALKATIVE[wide.emit_first] >= _TALKATIVE[narrow.emit_first]
    return groups and louder and narrow.name_prefix.startswith(wide.name_prefix)
