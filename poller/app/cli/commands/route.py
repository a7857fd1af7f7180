"""`omics-poller route`: which sinks get an event, and why not the others."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from poller.app.cli.commands.events import event_types
from poller.app.cli.exits import ExitCode
from poller.app.cli.options import AsJson, ConfigPath, NamedEvent, load_configuration, parse_run
from poller.app.cli.output import Out, Output
from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from poller.core.events import Event
    from poller.core.runs import Json, RunName
    from poller.settings.model import Settings


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """What a made-up event says. What is not given is not known."""

    name: Annotated[str | None, Parameter(help="Its name.")] = None
    tag: Annotated[tuple[str, ...], Parameter(help="A tag, KEY=VALUE; may be repeated.")] = ()
    workflow: Annotated[str | None, Parameter(help="Its workflow: an id, or a name.")] = None
    group: Annotated[str | None, Parameter(help="Its run group.")] = None
    batch: Annotated[str | None, Parameter(help="Its batch.")] = None
    cohort: Annotated[str | None, Parameter(help="The cohort that it fits, or that has finished.")] = None
    status: Annotated[str | None, Parameter(help="Its status; default: as its type says.")] = None
    failure_reason: Annotated[str | None, Parameter(help="Its failure code.")] = None
    account: Annotated[str | None, Parameter(help="Its account; default: the one that is asked.")] = None
    region: Annotated[str | None, Parameter(help="Its region; default: the one that is asked.")] = None

    @property
    def given(self) -> list[str]:
        """The options that were given, as they are typed."""
        return [f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value]

    def data(self, settings: "Settings") -> "dict[str, Json]":
        """As fields of an event's `data`, None for what is not known. Raises: ConfigError for a tag that is none."""
        from poller.settings.scopes import account_of

        tags = {}
        for tag in self.tag:
            key, equals, value = tag.partition("=")
            if not key or not equals:
                raise ConfigError(f"--tag {tag!r}: expected KEY=VALUE, such as --tag project=x")
            tags[key] = value
        by_id = self.workflow is not None and self.workflow.isdecimal()
        only = settings.aws[0] if len(settings.aws) == 1 else None
        return {
            "name": self.name,
            "cohort": self.cohort or self.name,
            "cohorts": [self.cohort] if self.cohort else None,
            "tags": tags or None,
            "workflow_id": self.workflow if by_id else None,
            "workflow_name": None if by_id else self.workflow,
            "run_group_id": self.group,
            "batch_id": self.batch,
            "status": self.status,
            "failure_reason": self.failure_reason,
            "account_id": self.account or (account_of(only) if only is not None else None),
            "region": self.region or (only.region if only is not None else None),
        }


NOTHING = MadeUp()


@dataclass(frozen=True, slots=True)
class _Asked:
    """An event, and what the record says became of it: sink -> state; None for one that is not on record."""

    event: "Event"
    deliveries: "Mapping[str, str] | None" = None


@dataclass(slots=True)
class _Answer:
    """What is said of one event and one sink."""

    event: "Event"
    sink: str
    why_not: str | None
    on_record: str | None
    fields: "dict[str, Json]" = field(init=False)

    def __post_init__(self) -> None:
        self.fields = {
            "event_id": self.event.id or None,
            "event_type": self.event.type,
            "run_id": self.event.run_id,
            "sink": self.sink,
            "gets": self.why_not is None,
            "why_not": self.why_not,
            "on_record": self.on_record,
        }


async def route(
    *,
    event: NamedEvent = None,
    run: Annotated[str | None, Parameter(help="The events on record of this run.")] = None,
    type: Annotated[  # the name of the option
        tuple[str, ...], Parameter(help="Of --run only this type; without it a made-up event of it. May be repeated.")
    ] = (),
    made_up: MadeUp = NOTHING,
    json: AsJson = False,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Say which sinks get an event, and why not the others.

    By the `events` and the `match` of each sink as the configuration says them now. An event was routed when it was
    recorded, perhaps by another configuration: for events on record it also says what became of them.

    A made-up event says only what the options say of it; what is not given is not known, and fits no `match`.

    **Examples**

    `omics-poller route --run 1234567 -c config.toml`

    `omics-poller route --event b2147cbb-24c8-5bda-8edf-91ecb5127204 -c config.toml`

    `omics-poller route --type failed --name lab-7 --tag project=x -c config.toml`

    `omics-poller events --since 1d --json -c config.toml | omics-poller route --event - -c config.toml`
    """
    from poller.core.routing import Route

    types = event_types(type) if type else None
    if event is not None and (run is not None or types is not None):
        raise ConfigError(f"--event names an event; leave {'--run' if run is not None else '--type'} out")
    if (event is not None or run is not None) and made_up.given:
        named = "--event" if event is not None else "--run"
        raise ConfigError(f"{made_up.given[0]} is for a made-up event, and {named} names one that there is")
    if event is None and run is None and types is None and not made_up.given:
        raise ConfigError("which event? Give --run RUN, --event ID, or --type failed and what the run is like")
    named_run = parse_run(run) if run is not None else None
    settings = load_configuration(config).settings
    if event is None and named_run is None:
        asked = _made_up(made_up, types, settings, out)
    elif event is not None and not _on_record(event):
        asked = _written(event)
    else:
        asked = await _recorded(event, named_run, types, config)
    routes = [Route.of(sink) for sink in settings.sinks]
    answers = []
    for one in asked:
        owed = one.deliveries or {}
        for route_ in routes:
            why_not = route_.why_not(one.event.type, one.event.data)
            answers.append(_Answer(one.event, route_.sink, why_not, owed.get(route_.sink)))
        gone = owed.keys() - {route_.sink for route_ in routes}
        answers += [_Answer(one.event, sink, "not in this configuration", owed[sink]) for sink in sorted(gone)]
    _show(answers, asked, out, json=json)
    if not routes:
        out.say("there are no [[sinks]]: nobody is told")
    return ExitCode.OK


def _show(answers: "list[_Answer]", asked: "list[_Asked]", out: Output, *, json: bool) -> None:
    if json:
        for answer in answers:
            out.document(answer.fields)
        return
    on_record = any(one.deliveries is not None for one in asked)
    columns = ["Event", "Sink", "Gets it", *(["On record"] if on_record else []), "Why not"]
    if len({one.event.subject for one in asked}) > 1:
        columns.insert(0, "Run")
    cells = [
        {
            "Run": answer.event.subject,
            "Event": answer.event.kind,
            "Sink": answer.sink,
            "Gets it": "yes" if answer.why_not is None else "no",
            "On record": answer.on_record,
            "Why not": answer.why_not,
        }
        for answer in answers
    ]
    out.table(columns, ([row[column] for column in columns] for row in cells))
    for one in asked:
        if not any(answer.why_not is None for answer in answers if answer.event is one.event):
            out.say(f"no sink gets {one.event.kind}" + (f" of {one.event.subject}" if one.event.subject else ""))


def _on_record(text: str) -> bool:
    from poller.app.cli.named_events import is_on_record

    return is_on_record(text)


def _written(text: str) -> list[_Asked]:
    from poller.app.cli.named_events import written_events

    return [_Asked(event) for event in written_events(text)]


def _made_up(made_up: MadeUp, types: tuple[str, ...] | None, settings: "Settings", out: Output) -> list[_Asked]:
    """Events of these types that say what the options say."""
    from poller.app.cli.named_events import made_up_data
    from poller.core.events import Event, bytes_of
    from poller.core.matching import Match
    from poller.core.samples import sample_event
    from poller.settings.matches import no_such_values

    said = made_up.data(settings)
    odd = ("status", "failure_reason", "group", "batch", "cohort", "account", "region")
    given = {key: value for key in odd if (value := getattr(made_up, key))}
    for sentence in no_such_values(Match.model_validate(given), settings) if given else ():
        out.say(f"--{sentence.replace('failure_reason', 'failure-reason', 1)}")
    if types is None:
        out.say("a made-up run that failed; --type names another event")
        types = event_types(["failed"])
    found = []
    for event_type in types:
        data = made_up_data(sample_event(event_type), said)
        found.append(_Asked(Event(bytes_of({"id": "", "source": "", "subject": "", "type": event_type, "data": data}))))
    return found


async def _recorded(
    event: str | None, run: "RunName | None", types: tuple[str, ...] | None, config: "Path | None"
) -> list[_Asked]:
    """Events on record. Raises: ConfigError if there are none."""
    from poller.app.cli.commands.deliveries import state_of
    from poller.app.cli.named_events import recorded_event
    from poller.app.cli.records import open_record

    async with open_record(config) as record:
        if event is not None:
            found = [await recorded_event(record.store, event)]
        else:
            scope, run_id = await record.narrowed(run)
            found = await record.store.events(run_id=run_id, scope=scope, types=types)
            if not found:
                raise ConfigError(f"no such event of run {run_id} is on record; `omics-poller runs` lists the runs")
        asked = []
        for one in found:
            rows = await record.store.deliveries(event_id=one.id)
            states = {row.sink: state_of(row) for row in reversed(rows)}
            originals = {row.sink: state_of(row) for row in rows if row.replay_id is None}
            asked.append(_Asked(one, states | originals))
        return asked
