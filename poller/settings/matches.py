"""What of a sink's `match` can never fit: a status that nobody knows, a group that is no id, events it excludes."""

import difflib
from collections.abc import Iterator
from typing import Final

from poller.core.batches import BATCH_RANK
from poller.core.events import EVENT_TYPES, RUN_PREFIX, short_type
from poller.core.matching import Match, is_glob, is_matched
from poller.core.reasons import REASONS
from poller.core.routing import Route
from poller.core.runs import RUN_ID
from poller.core.statuses import RANK
from poller.core.values import SinkSettings
from poller.settings.model import Settings
from poller.settings.problems import Doubt
from poller.settings.scopes import account_of

UNREAD: Final = RUN_PREFIX + "unreachable"
_KNOWN_OF_UNREAD: Final = frozenset({"account", "region", "cohort"})
"""Keys of a match that a run may fit that was never read: where it is, and which cohort names it."""
_IDS: Final = {"group": "a run group", "batch": "a batch"}
_OTHER_NAMES: Final = {
    "run_group": "group",
    "workflow_version": "workflow",
    "prefix": "name",
    "run": "name",
    "tag": "tags",
    "reason": "failure_reason",
    "statuses": "status",
}


def meant_by(word: str) -> str | None:
    """The key of a match that is most likely meant by one that is none, such as `run_group_ids`."""
    bare = word.replace("-", "_").lower()
    for ending in ("_prefix", "_ids", "_id", "_name", "_names"):
        bare = bare.removesuffix(ending)
    bare = _OTHER_NAMES.get(bare, _OTHER_NAMES.get(bare.removeprefix("run_"), bare))
    near = difflib.get_close_matches(bare, Match.model_fields, n=1)
    return near[0] if near else None


def match_warnings(settings: Settings) -> Iterator[Doubt]:
    """What is most likely not what was meant, one sentence each."""
    for index, sink in enumerate(settings.sinks):
        places = len(sink.match)
        for number, table in enumerate(sink.match, start=1):
            where = f'[[sinks]] "{sink.name}" match' + (f" number {number}" if places > 1 else "")
            said = list(no_such_values(table, settings)) or _never(sink, table)
            path = ("sinks", index, "match", *((number - 1,) if places > 1 else ()))
            yield from (Doubt(f"{where} {sentence}", path) for sentence in said)
        yield from (Doubt(sentence, ("sinks", index, "events")) for sentence in _named_in_vain(sink))
    takers = [route for route in map(Route.of, settings.sinks) if route.takes_type(UNREAD)]
    if takers and not any(map(_may_take_unread, takers)):
        yield Doubt(
            "every sink that takes `unreachable` has a match, and a run that was never read has no name, no tags and no"
            " workflow: nobody is told of it; have a sink without match take `unreachable` and `vanished`"
        )


def _may_take_unread(route: Route) -> bool:
    """Whether it may be told of a run that was never read."""
    asked = [{key.partition(".")[0] for key, _ in table.asked()} for table in route.match]
    return not asked or any(keys <= _KNOWN_OF_UNREAD for keys in asked)


def no_such_values(table: Match, settings: Settings) -> Iterator[str]:
    """Values that nothing has."""
    known = {*RANK, *BATCH_RANK}
    for status in table.status or ():
        if not is_glob(status) and status.upper() not in known:
            near = difflib.get_close_matches(status.upper(), known, n=1)
            meant = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(RANK)}, and those of batches"
            yield f'status: this version knows no status "{status}"; {meant}'
    for code in table.failure_reason or ():  # the service's list grows: only what looks like a slip is one
        near = difflib.get_close_matches(code.upper(), REASONS, n=1, cutoff=0.7)
        if near and not is_glob(code) and code.upper() not in REASONS:
            yield f'failure_reason: this version knows no code "{code}"; did you mean "{near[0]}"?'
    for key, what in _IDS.items():
        for value in getattr(table, key) or ():
            if not is_glob(value) and not RUN_ID.fullmatch(value):
                yield f'{key}: "{value}" fits none, {what} is named by its id of 1 to 18 digits'
    cohorts = [cohort.name for cohort in settings.cohort]
    for name in table.cohort or ():
        if name not in cohorts and not is_glob(name) and not RUN_ID.fullmatch(name):  # a batch is called by its id
            near = difflib.get_close_matches(name, cohorts, n=1)
            meant = f'did you mean "{near[0]}"?' if near else f"there is {' and '.join(cohorts) or 'none'}"
            yield f'cohort: no [[cohort]] is called "{name}"; {meant}'
    for account in table.account or ():
        if not is_glob(account) and not (account.isdecimal() and len(account) == 12):
            yield f'account: "{account}" fits none, an account has 12 digits'
    for key, there in (("region", [aws.region for aws in settings.aws]), ("account", map(account_of, settings.aws))):
        asked = [one for one in there if one is not None]
        probe = Match.model_validate({key: getattr(table, key)}) if getattr(table, key) else None
        field = {"region": "region", "account": "account_id"}[key]
        if probe is None or len(asked) < len(settings.aws):
            continue  # which ones are asked is not written here
        if not any(probe.why_not({field: one}) is None for one in asked):
            yield f"{key}: only {' and '.join(dict.fromkeys(asked))} is asked"


def _never(sink: SinkSettings, table: Match) -> Iterator[str]:
    """A table that no event fits that the sink takes."""
    taken = [one for one in EVENT_TYPES if is_matched(one) and Route(sink.name, sink.events).takes_type(one)]
    reasons = [table.never(one) for one in taken]
    if not taken:
        yield "has no say: `events` takes only what the poller says of itself, which is about no run"
    elif None not in reasons:
        yield f"can never fit what `events` takes: {'; '.join(map(str, dict.fromkeys(reasons)))}"


def _named_in_vain(sink: SinkSettings) -> Iterator[str]:
    """Types that `events` names one by one, and `match` excludes, while others are left."""
    route = Route.of(sink)
    named = [one for one in EVENT_TYPES if short_type(one) in (sink.events or ())]
    excluded = {one: said for one in named if (said := route.never(one)) is not None}
    if len(excluded) < sum(map(is_matched, named)):
        for event_type, said in excluded.items():
            yield f'[[sinks]] "{sink.name}" events: {short_type(event_type)} is never sent ({said})'
