"""What no key gets wrong alone: keys that contradict each other, and what this version cannot do yet.

Each rule is a small function from the settings to the problems it finds; a problem names its keys, so that the loader
can name their lines, and says what to do. `warnings` are things that work, and that nobody wants.
"""

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Final

from poller.core.events import EVENT_TYPES, short_type
from poller.core.routing import Route, unmatched
from poller.core.values import format_duration
from poller.settings.lines import KeyPath
from poller.settings.model import Settings, run_name

LEAST_INTERVAL: Final = timedelta(milliseconds=50)
"""Below this a poller of one run would spend the whole account's quota of GetRun (10/s) twice over."""

LATER_EVENTS: Final = ("overdue", "diagnosed", "sink_failing", "sink_recovered", "cohort.finished")
"""Events of the contract that this version does not send yet. Naming them is no mistake."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: at which key, in one sentence without its place; and the other keys it is about.

    Values in the sentence stand in quotes or brackets: they are left out where they did not come from the file itself.
    """

    path: KeyPath
    sentence: str
    others: tuple[KeyPath, ...] = ()


@dataclass(frozen=True, slots=True)
class NotYet:
    """Something of the contract that this version refuses: the day it works, its line goes."""

    path: KeyPath
    asked_for: Callable[[Settings], bool]
    sentence: str


NOT_YET: Final = (
    NotYet(("aws", 1), lambda s: len(s.aws) > 1, "several [[aws]] tables do not work yet; run one daemon for each"),
    NotYet(("watch", 1), lambda s: len(s.watch) > 1, "several [[watch]] tables do not work yet; put all into one"),
    NotYet(
        ("aws", 0, "role_arn"),
        lambda s: any(aws.role_arn for aws in s.aws),
        "assuming a role does not work yet; name a profile of the AWS configuration that assumes it",
    ),
    NotYet(
        ("store", "url"),
        lambda s: s.store.url.startswith("postgresql"),
        "PostgreSQL does not work yet; give a file, such as sqlite:///omics-poller.db",
    ),
)


def problems(settings: Settings) -> Iterator[Problem]:
    """All that is wrong with settings whose keys are right one by one."""
    for rule in (_not_yet, _scopes, _runs, _discovery, _polling, _record, _http, _sinks, _sink_events):
        yield from rule(settings)


def warnings(settings: Settings) -> list[str]:
    """What works as it is written, and is most likely not what was meant."""
    found = []
    if not any(watch.run_ids or watch.batch_ids or watch.discover for watch in settings.watch):
        found.append(
            "nothing to watch: [watch] names no run_ids and no batch_ids, and discover is off;"
            " `omics-poller add` adds runs later"
        )
    if not settings.sinks:
        found.append("no [[sinks]]: events are recorded, and nobody is told")
    elif not any(Route(sink.name, sink.events).takes("healthomics.poller.blind") for sink in settings.sinks):
        found.append('no sink takes "blind": nobody is told when the poller can no longer see the account')
    return found


def _not_yet(settings: Settings) -> Iterator[Problem]:
    for refusal in NOT_YET:
        if refusal.asked_for(settings):
            yield Problem(refusal.path, refusal.sentence)


def _scopes(settings: Settings) -> Iterator[Problem]:
    names = [aws.name for aws in settings.aws]
    for index, name in enumerate(names):
        if name is not None and name in names[:index]:
            yield Problem(("aws", index, "name"), f'another [[aws]] table is named "{name}" too; names are unique')
    for index, watch in enumerate(settings.watch):
        if watch.aws is not None and watch.aws not in names:
            yield Problem(("watch", index, "aws"), _no_such_scope(watch.aws, names), (("aws", 0, "name"),))


def _runs(settings: Settings) -> Iterator[Problem]:
    if len(settings.aws) != 1:
        return  # refused already; with several tables a run belongs to the one that its watch names
    aws = settings.aws[0]
    for index, watch in enumerate(settings.watch):
        for place, text in enumerate(watch.run_ids):
            path: KeyPath = ("watch", index, "run_ids", place)
            run = run_name(text)
            if run.region and aws.region and run.region != aws.region:
                yield Problem(
                    path,
                    f"is in another region than [aws] region ({aws.region}); one daemon asks one region",
                    (("aws", 0, "region"),),
                )
            default_name = aws.name is None and run.scope is not None and "/" in run.scope
            if run.scope and run.scope != aws.name and not default_name:
                yield Problem(path, _no_such_scope(run.scope, [aws.name]), (("aws", 0, "name"),))


def _no_such_scope(name: str, names: list[str | None]) -> str:
    known = [other for other in names if other is not None]
    if not known:
        return f'no [aws] table is named "{name}"; give it name = "{name}"'
    return f'no [aws] table is named "{name}"; there is {" and ".join(known)}'


def _discovery(settings: Settings) -> Iterator[Problem]:
    for index, watch in enumerate(settings.watch):
        for key in ("run_group_ids", "name_prefix"):
            if getattr(watch, key) and not watch.discover:
                yield Problem(
                    ("watch", index, key),
                    "narrows discovery, which is off; set discover = true or take it out",
                    (("watch", index, "discover"),),
                )


def _polling(settings: Settings) -> Iterator[Problem]:
    polling = settings.polling
    low, high = polling.min_interval, polling.max_interval
    key = ("polling", "min_interval")

    def spell(name: str) -> str:
        return f"{name} ({format_duration(getattr(polling, name))})"

    if low < LEAST_INTERVAL:
        yield Problem(key, f"({format_duration(low)}) is too short; the least is {format_duration(LEAST_INTERVAL)}")
        return
    if low > high:
        yield Problem(
            key,
            f"({format_duration(low)}) is longer than {spell('max_interval')}; lower the first or raise the second",
            (("polling", "max_interval"),),
        )


def _record(settings: Settings) -> Iterator[Problem]:
    if settings.store.retention <= timedelta(0):
        yield Problem(("store", "retention"), 'would forget everything at once; give a time to keep it, such as "30d"')


def _http(settings: Settings) -> Iterator[Problem]:
    if not settings.http.on_loopback and settings.http.token is None:
        yield Problem(
            ("http", "listen"),
            "is open to other machines, which needs a token; set token, or listen on 127.0.0.1",
            (("http", "token"),),
        )


def _sinks(settings: Settings) -> Iterator[Problem]:
    names = [sink.name for sink in settings.sinks]
    for index, sink in enumerate(settings.sinks):
        if sink.name in names[:index]:
            first: KeyPath = ("sinks", names.index(sink.name), "name")
            yield Problem(
                ("sinks", index, "name"),
                f'another sink is named "{sink.name}" too; deliveries are owed to names, so they must differ',
                (first,),
            )
        for key in ("timeout", "max_age"):
            if getattr(sink, key) <= timedelta(0):
                yield Problem(("sinks", index, key), "must be longer than 0")


def _sink_events(settings: Settings) -> Iterator[Problem]:
    for index, sink in enumerate(settings.sinks):
        for place, name in enumerate(sink.events or ()):
            if said := misspelt_event(name):
                yield Problem(("sinks", index, "events", place), said)


def misspelt_event(pattern: str) -> str | None:
    """What is wrong with the name of an event, or a glob, that matches nothing; None if it matches something."""
    if not unmatched([pattern]) or _of_a_later_version(pattern):
        return None
    return f'"{pattern}" matches no event; {_nearest_event(pattern)}'


def _of_a_later_version(pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in LATER_EVENTS)


def _nearest_event(name: str) -> str:
    known = [short_type(event_type) for event_type in EVENT_TYPES] + [*LATER_EVENTS]
    bare = name.lower().removeprefix("healthomics.").removeprefix("run.").removeprefix("poller.")
    if near := difflib.get_close_matches(bare, known, n=1):
        return f'did you mean "{near[0]}"?'
    return f"there are {', '.join(one for one in known if not one.startswith('batch.'))}, and batch.*"
