"""Which `[[watch]]` tables are about which `[[aws]]`, and which scope the name of a run means.

A scope is called as its table is, else by its region. A run is named by ARN, by `scope:id`, or by a bare id where one
scope exists; `account/region:id` says the same as an ARN. An ARN goes to the scope of its region and account; what is
not known of a scope (its account, before it was asked) contradicts nothing. Pure: used on files, records and daemons.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from poller.settings.model import AwsSettings, Settings, WatchSettings
from poller.settings.texts import RunName

_PLACE: Final = re.compile(r"(?P<account>\d{12})/(?P<region>[a-z0-9-]+)")
_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):role/\S+")


@dataclass(frozen=True, slots=True)
class Address:
    """What a run's name is held against: how a scope is called, and what is known of where it is."""

    name: str
    region: str | None = None
    account_id: str | None = None


class NoScopeError(LookupError):
    """A run's name leads to no scope, or to more than one; `str()` is the sentence that says why."""

    def __str__(self) -> str:
        return str(self.args[0])


def called(aws: AwsSettings) -> str | None:
    """How a table calls its scope; None where only its environment or profile tell the region."""
    return aws.name or aws.region


def account_of(aws: AwsSettings) -> str | None:
    """The account that a table tells by itself: that of the role which it assumes."""
    found = _ROLE.fullmatch(aws.role_arn or "")
    return found["account"] if found else None


def watches_of(settings: Settings, place: int) -> list[int]:
    """The places of the `[[watch]]` tables that are about the `[[aws]]` at `place`, in their order."""
    if len(settings.aws) == 1:
        return list(range(len(settings.watch)))
    name = called(settings.aws[place])
    return [index for index, watch in enumerate(settings.watch) if watch.aws is not None and watch.aws == name]


def watches_by_scope(settings: Settings) -> list[tuple[WatchSettings, ...]]:
    """For each `[[aws]]` what is watched in it; what no `[[watch]]` names follows only what commands add."""
    places = range(len(settings.aws))
    return [tuple(settings.watch[index] for index in watches_of(settings, place)) for place in places]


def watches_anew(before: Settings, now: Settings) -> list[tuple[WatchSettings, ...] | None]:
    """For each `[[aws]]` of `before` what `now` watches in it, by its name; None if `now` has no such table."""
    if len(before.aws) == len(now.aws) == 1:
        return [*watches_by_scope(now)]
    by_name = {called(aws): watches for aws, watches in zip(now.aws, watches_by_scope(now), strict=True) if called(aws)}
    return [by_name.get(called(aws)) for aws in before.aws]


def find_scope(run: RunName, scopes: Sequence[Address]) -> int:
    """The place among `scopes` of the one that a run's name means. Raises: NoScopeError."""
    region, account_id = run.region, run.account_id
    if run.scope is not None:
        for place, scope in enumerate(scopes):
            if scope.name == run.scope:
                return place
        by_place = _PLACE.fullmatch(run.scope)
        if by_place is None:
            raise NoScopeError(f"there is no scope {run.scope}; {_listed(scopes)}")
        region, account_id = by_place["region"], by_place["account"]
    if region is None:
        if len(scopes) == 1:
            return 0
        examples = " or ".join(f"{scope.name}:{run.run_id}" for scope in scopes[:3])
        raise NoScopeError(f"run {run.run_id} could be in any of {len(scopes)} scopes: name it {examples}")
    there = [place for place, scope in enumerate(scopes) if scope.region in (region, None)]
    if not there:
        raise NoScopeError(f"run {run.run_id} is in {region}, where no scope is; {_listed(scopes)}")
    sure = [place for place in there if scopes[place].account_id == account_id]
    maybe = [place for place in there if scopes[place].account_id is None]
    if sure or len(maybe) == 1:
        return (sure or maybe)[0]  # of several that are one account and region the first keeps what is known
    if not maybe:
        raise NoScopeError(f"run {run.run_id} is of account {account_id}, which no scope is; {_listed(scopes)}")
    names = " or ".join(f"{scopes[place].name}:{run.run_id}" for place in maybe)
    raise NoScopeError(f"which scope is of account {account_id} is not known yet: name the run {names}")


def _listed(scopes: Iterable[Address]) -> str:
    def one(scope: Address) -> str:
        about = ", ".join(
            known for known in (scope.region if scope.region != scope.name else None, scope.account_id) if known
        )
        return f"{scope.name} ({about})" if about else scope.name

    return f"there is {' and '.join(map(one, scopes))}"
