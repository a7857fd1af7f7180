"""Scopes that prove to be one account and region: the first of them follows for all, the others rest.

Two tables may lead to one account: by two profiles, or by a role and a profile. That shows only once an account is
learned, from sts:GetCallerIdentity or from the first ARN. From then on one budget is spent and one record is kept, and
the first of them follows by the watches of both.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from poller.core.overdue import Terms, strictest
from poller.polling.rules import Rules
from poller.ports.service import RunService

if TYPE_CHECKING:
    from poller.polling.scope import Scope


class Twins:
    """The scopes of one process, in the order of the configuration, and the accounts that they have shown so far."""

    def __init__(self, scopes: Sequence["Scope"]) -> None:
        self._scopes = scopes
        self._accounts: dict[str, str] = {}

    def met(self, scope: "Scope", account_id: str) -> None:
        """A scope answers for this account: it rests with an earlier one that does too, and later ones rest with it."""
        self._accounts[scope.name] = account_id
        first, *others = (
            one
            for one in self._scopes
            if self._accounts.get(one.name) == account_id and one.place.region == scope.place.region
        )
        for other in others:
            if other.keeper is not first:
                other.rest_with(first)


def whole_rules(scope: "Scope") -> Rules:
    """What is watched in a scope, and in those that rest with it."""
    return Rules(dict.fromkeys(rule for one in (scope, *scope.guests) for rule in one.rules), scope.pace)


def whole_terms(scope: "Scope") -> Terms:
    """What is called too long in a scope, and in those that rest with it."""
    return strictest(one.terms for one in (scope, *scope.guests))


async def take_over(scope: "Scope") -> None:
    """Have the record hold under this scope's name what it holds under those of its guests; again and again is once.

    Discovery goes on from the earlier of their marks, so that nothing that either would have told is left out. The mark
    of a guest that rested before the last stop, too, is where its runs are: with this scope, which went on for it.
    """
    discovered = Rules(scope.rules).discover
    for guest in scope.guests:
        marks, theirs = [], Rules(guest.rules).discover
        went_on = discovered or (theirs and guest.rested_before)
        for name, discovers in ((scope.name, went_on), (guest.name, theirs)):
            state = await scope.gate.insist(partial(scope.store.scope, name))
            if discovers and state is not None and state.discovered_through is not None:
                marks.append(state.discovered_through)
        move = partial(scope.store.merge_scopes, guest.name, scope.name, discovered_through=min(marks, default=None))
        await scope.gate.insist(move)
        guest.recorded_as = scope.name
        discovered = discovered or theirs


def service_of(own: RunService, guests: Iterable["Scope"]) -> RunService:
    """Whom a scope asks: through its own credentials, or its guests' while its own are refused."""
    others = [guest.service for guest in guests]
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
