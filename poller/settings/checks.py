"""What no key gets wrong alone: keys that contradict each other, and what this version cannot do yet.

Each rule is a small function from the settings to the problems it finds; a problem names its keys, so that the loader
can name their lines, and says what to do. `warnings` are things that work, and that nobody wants.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from poller.core.routing import Route
from poller.core.values import format_duration
from poller.settings.lines import KeyPath
from poller.settings.matches import match_warnings
from poller.settings.model import Settings, WatchSettings
from poller.settings.problems import Doubt, Problem
from poller.settings.scopes import called, watches_by_scope, watches_of
from poller.settings.sinks import sink_problems
from poller.settings.texts import run_name

LEAST_INTERVAL: Final = timedelta(milliseconds=50)
"""Below this a poller of one run would spend the whole account's quota of GetRun (10/s) twice over."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """Something of the contract that this version refuses: the day it works, its line goes."""

    path: KeyPath
    asked_for: Callable[[Settings], bool]
    sentence: str


NOT_YET: Final = (
    NotYet(
        ("store", "url"),
        lambda s: s.store.url.startswith("postgresql"),
        "PostgreSQL does not work yet; give a file, such as sqlite:///omics-poller.db",
    ),
)


def problems(settings: Settings) -> Iterator[Problem]:
    """All that is wrong with settings whose keys are right one by one."""
    for rule in (
        _not_yet,
        _scopes,
        _roles,
        _watched_scopes,
        _runs,
        _discovery,
        _overdue,
        _polling,
        _watch_intervals,
        _cohorts,
        _record,
        _diagnosis,
        _http,
    ):
        yield from rule(settings)
    yield from sink_problems(settings.sinks)


def warnings(settings: Settings) -> list[Doubt]:
    """What works as it is written, and is most likely not what was meant."""
    found: list[Doubt] = []
    silent = [
        called(aws) or f"number {place + 1}"
        for place, (aws, watches) in enumerate(zip(settings.aws, watches_by_scope(settings), strict=True))
        if not any(map(_follows, watches))
    ]
    if len(settings.aws) > 1 and silent:
        nothing = (
            f"nothing to watch in {' and '.join(silent)}: no [[watch]] with that name in `aws` says what to follow; "
            "`omics-poller add` adds runs later"
        )
        found.append(Doubt(nothing))
    elif silent:
        nothing = (
            "nothing to watch: [watch] names no run_ids and no batch_ids, and discover is off;"
            " `omics-poller add` adds runs later"
        )
        found.append(Doubt(nothing))
    if len(settings.watch) > 1:
        in_vain = "follows nothing: it names no run_ids and no batch_ids, and discover is off"
        found += [
            Doubt(f"[[watch]] number {index + 1} {in_vain}", ("watch", index))
            for index, watch in enumerate(settings.watch)
            if not _follows(watch)
        ]
    if not settings.sinks:
        found.append(Doubt("no [[sinks]]: events are recorded, and nobody is told"))
    elif not any(Route.of(sink).takes_type("healthomics.poller.blind") for sink in settings.sinks):
        found.append(Doubt('no sink takes "blind": nobody is told when the poller can no longer see the account'))
    return [*found, *match_warnings(settings)]


def _follows(watch: WatchSettings) -> bool:
    return bool(watch.run_ids or watch.batch_ids or watch.discover)


def _not_yet(settings: Settings) -> Iterator[Problem]:
    for refusal in NOT_YET:
        if refusal.asked_for(settings):
            yield Problem(refusal.path, refusal.sentence)


def _scopes(settings: Settings) -> Iterator[Problem]:
    names = [aws.name for aws in settings.aws]
    seen: dict[object, int] = {}
    for index, aws in enumerate(settings.aws):
        if aws.name is not None and aws.name in names[:index]:
            yield Problem(("aws", index, "name"), f'another [[aws]] table is named "{aws.name}" too; names are unique')
            continue
        # a table without a name is called by its region; where neither is written, the profile tells it
        key: object = called(aws) or ("profile", aws.profile)
        first = seen.setdefault(key, index)
        if first == index:
            continue
        other = settings.aws[first]
        if aws.name is None and other.name is None:
            where = f'is in region "{aws.region}" too' if aws.region else "would ask the same region"
            sentence = f"another [[aws]] table without a name {where}; give each a name"
        else:
            sentence = f'the name of one [[aws]] table is the region of another ("{called(aws)}"); give that one a name'
        yield Problem(("aws", index), sentence, (("aws", first),))


def _roles(settings: Settings) -> Iterator[Problem]:
    for index, aws in enumerate(settings.aws):
        if aws.external_id is not None and aws.role_arn is None:
            yield Problem(
                ("aws", index, "external_id"),
                "goes with a role to assume; set role_arn too, or take it out",
                (("aws", index, "role_arn"),),
            )


def _watched_scopes(settings: Settings) -> Iterator[Problem]:
    names = [called(aws) for aws in settings.aws]
    several = len(settings.aws) > 1
    for index, watch in enumerate(settings.watch):
        if watch.aws is not None and watch.aws not in names:
            yield Problem(("watch", index, "aws"), _no_such_scope(watch.aws, names), (("aws", 0, "name"),))
        elif several and watch.aws is None and watch != WatchSettings():
            yield Problem(
                ("watch", index),
                f"there are {len(names)} [[aws]] tables: say which one this is about, "
                f"with aws = {' or aws = '.join(_quoted(name) for name in names if name)}",
                (("watch", index, "aws"),),
            )


def _runs(settings: Settings) -> Iterator[Problem]:
    several = len(settings.aws) > 1
    for place, aws in enumerate(settings.aws):
        named = (
            (("watch", index, "run_ids", number), run_name(text))
            for index in watches_of(settings, place)
            for number, text in enumerate(settings.watch[index].run_ids)
        )
        path: KeyPath
        for path, run in named:
            if run.region and aws.region and run.region != aws.region:
                there = "name it in the [[watch]] of another one" if several else "one [aws] table asks one region"
                yield Problem(
                    path,
                    f"is in another region than [aws] region ({aws.region}); {there}",
                    (("aws", place, "region"),),
                )
            by_account_and_region = aws.name is None and run.scope is not None and "/" in run.scope
            if run.scope and run.scope != called(aws) and not by_account_and_region:
                if several and run.scope in [called(other) for other in settings.aws]:
                    yield Problem(path, f'is of the scope "{run.scope}"; name it in the [[watch]] of that one')
                else:
                    yield Problem(path, _no_such_scope(run.scope, [called(aws)]), (("aws", place, "name"),))


def _no_such_scope(name: str, names: list[str | None]) -> str:
    known = [other for other in names if other is not None]
    if not known:
        return f'no [aws] table is named "{name}"; give it name = "{name}"'
    return f'no [aws] table is named "{name}"; there is {" and ".join(known)}'


def _quoted(name: str) -> str:
    return f'"{name}"'


def _discovery(settings: Settings) -> Iterator[Problem]:
    for index, watch in enumerate(settings.watch):
        for key in ("run_group_ids", "name_prefix", "workflow_ids", "tags"):
            if getattr(watch, key) and not watch.discover:
                yield Problem(
                    ("watch", index, key),
                    "narrows discovery, which is off; set discover = true or take it out",
                    (("watch", index, "discover"),),
                )


def _overdue(settings: Settings) -> Iterator[Problem]:
    for index, watch in enumerate(settings.watch):
        if 0 < watch.overdue_factor < 1:
            yield Problem(
                ("watch", index, "overdue_factor"),
                f"({watch.overdue_factor:g}) would call every other run overdue; give 1 or more, or 0 for none",
            )


def _polling(settings: Settings) -> Iterator[Problem]:
    polling = settings.polling
    for name in ("blind_after", "vanish_deadline"):
        if getattr(polling, name) <= timedelta(0):
            yield Problem(("polling", name), "must be longer than 0: nothing is judged by a single answer")
    yield from _intervals(("polling",), polling.min_interval, polling.max_interval)


def _cohorts(settings: Settings) -> Iterator[Problem]:
    names = [cohort.name for cohort in settings.cohort]
    for index, cohort in enumerate(settings.cohort):
        if cohort.name in names[:index]:
            yield Problem(
                ("cohort", index, "name"), f'another [[cohort]] is named "{cohort.name}" too; names are unique'
            )
        by_rule = bool(cohort.run_group_ids or cohort.run_name or cohort.tags)
        if not cohort.run_ids and not by_rule:
            yield Problem(
                ("cohort", index, "name"), "no run belongs to it: give run_ids, run_group_ids, run_name or tags"
            )
        if cohort.expected is not None and not by_rule:
            yield Problem(
                ("cohort", index, "expected"), "counts runs that are not named; with run_ids alone they are counted"
            )
        if "quiet" in cohort.model_fields_set and (cohort.expected is not None or not by_rule):
            yield Problem(
                ("cohort", index, "quiet"), "is for runs that nobody counted: not with expected, nor run_ids alone"
            )
        if cohort.quiet <= timedelta(0):
            yield Problem(("cohort", index, "quiet"), "must be longer than 0")


def _watch_intervals(settings: Settings) -> Iterator[Problem]:
    """A watch's own intervals, with those of [polling] in place of what it does not say."""
    polling = settings.polling
    for index, watch in enumerate(settings.watch):
        low, high = watch.min_interval, watch.max_interval
        table: KeyPath = ("watch", index)
        if low is not None and high is not None:
            yield from _intervals(table, low, high)
        elif low is not None and low < LEAST_INTERVAL:
            yield _too_short(table, low)
        elif low is not None and low > polling.max_interval:
            yield Problem(
                (*table, "min_interval"),
                f"({format_duration(low)}) is longer than [polling] max_interval "
                f"({format_duration(polling.max_interval)}); lower it, or set max_interval here, too",
                (("polling", "max_interval"),),
            )
        elif high is not None and high < polling.min_interval:
            yield Problem(
                (*table, "max_interval"),
                f"({format_duration(high)}) is shorter than [polling] min_interval "
                f"({format_duration(polling.min_interval)}); raise it, or set min_interval here, too",
                (("polling", "min_interval"),),
            )


def _intervals(table: KeyPath, low: timedelta, high: timedelta) -> Iterator[Problem]:
    if low < LEAST_INTERVAL:
        yield _too_short(table, low)
    elif low > high:
        yield Problem(
            (*table, "min_interval"),
            f"({format_duration(low)}) is longer than max_interval ({format_duration(high)}); "
            "lower the first or raise the second",
            ((*table, "max_interval"),),
        )


def _too_short(table: KeyPath, low: timedelta) -> Problem:
    said = f"({format_duration(low)}) is too short; the least is {format_duration(LEAST_INTERVAL)}"
    return Problem((*table, "min_interval"), said)


def _record(settings: Settings) -> Iterator[Problem]:
    if settings.store.retention <= timedelta(0):
        yield Problem(("store", "retention"), 'would forget everything at once; give a time to keep it, such as "30d"')


def _diagnosis(settings: Settings) -> Iterator[Problem]:
    diagnosis = settings.diagnosis
    if diagnosis.show_names and not diagnosis.log_lines:
        yield Problem(
            ("diagnosis", "show_names"),
            "is about the lines of logs, and none are asked for; set log_lines too, or take it out",
            (("diagnosis", "log_lines"),),
        )
    if diagnosis.log_lines and not diagnosis.enabled:
        yield Problem(
            ("diagnosis", "log_lines"),
            "is part of a diagnosis, which is off; set enabled = true, or take it out",
            (("diagnosis", "enabled"),),
        )


def _http(settings: Settings) -> Iterator[Problem]:
    if not settings.http.on_loopback and settings.http.token is None:
        yield Problem(
            ("http", "listen"),
            "is open to other machines, which needs a token; set token, or listen on 127.0.0.1",
            (("http", "token"),),
        )
