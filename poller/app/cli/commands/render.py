"""`omics-poller render`: what a sink would send."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from poller.app.cli.commands.events import event_types
from poller.app.cli.exits import ExitCode
from poller.app.cli.options import AsJson, ConfigPath, NamedEvent, load_configuration
from poller.app.cli.output import Out, Output, printable
from poller.core.errors import ConfigError, Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from poller.core.events import Event
    from poller.core.routing import Route
    from poller.ports.sinks import Preview, Sink


async def render(
    sink: Annotated[str, Parameter(name="SINK", help="The name of the sink in the configuration.")],
    /,
    *,
    event: NamedEvent = None,
    type: Annotated[  # the name of the option
        tuple[str, ...], Parameter(help="A sample of this type, such as failed, or a glob; may be repeated.")
    ] = (),
    json: AsJson = False,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Show what a sink would send of an event: what goes beside the body, and the body byte for byte. Nothing is sent.

    Without --event and --type a sample of one type that the sink takes. Secrets are hidden, also in the body;
    signatures are made at each attempt, and only named. Exit code 1 if the sink's template fails with an event.

    **Examples**

    `omics-poller render lims -c config.toml`

    `omics-poller render lims --type failed --type blind -c config.toml`

    `omics-poller render lims --event b2147cbb-24c8-5bda-8edf-91ecb5127204 --json -c config.toml | jq -r .body`
    """
    from poller.app.cli.configured_sinks import configured_sinks
    from poller.core.routing import Route

    if event is not None and type:
        raise ConfigError("--event names an event; leave --type out")
    types = event_types(type) if type else None
    loaded = load_configuration(config)
    settings = loaded.sink(sink)
    route = Route.of(settings)
    events = await _events(event, types, route, config, out)
    failed = False
    async with configured_sinks(loaded) as opened, opened(settings) as made:
        for number, one in enumerate(events):
            try:
                preview = _preview(made, one.without((*loaded.settings.privacy.omit, *settings.omit)))
            except Rejected as error:
                failed = True
                _tell_rejected(one, sink, str(error), out, json=json)
                continue
            _show(one, sink, preview, out, json=json, first=number == 0)
            if (why_not := _not_taken(route, one, on_record=event is not None)) is not None:
                out.say(f"{sink} does not take this: {why_not}")
    return ExitCode.ERROR if failed else ExitCode.OK


async def _events(
    event: str | None, types: tuple[str, ...] | None, route: "Route", config: "Path | None", out: Output
) -> "list[Event]":
    """The events to show."""
    from poller.app.cli.named_events import is_on_record, recorded_event, written_events
    from poller.app.cli.records import open_record
    from poller.core.events import EVENT_TYPES, short_type
    from poller.core.samples import sample_event

    if event is None:
        if types is None:
            taken = [one for one in EVENT_TYPES if route.never(one) is None]
            types = tuple(one for one in taken if short_type(one) == "failed") or tuple(taken[:1])
            out.say("a sample; --type shows others, --event one that is on record")
        return [sample_event(one) for one in types]
    if is_on_record(event):
        async with open_record(config) as record:
            return [await recorded_event(record.store, event)]
    return written_events(event, ("id", "source", "type", "subject", "time", "data"))


def _preview(sink: "Sink", event: "Event") -> "Preview":
    """What the sink says; of one that says nothing, the bytes that it is given. Raises: Rejected."""
    from poller.ports.sinks import Preview

    ask = getattr(sink, "preview", None)
    if ask is None:
        return Preview("as the sink does it: this is the event that it is given", {}, event.body)
    shown: Preview = ask(event)
    return shown


def _not_taken(route: "Route", event: "Event", *, on_record: bool) -> str | None:
    """Why the sink would not get it; of a sample by its type alone, since what it says is made up."""
    return route.why_not(event.type, event.data) if on_record else route.never(event.type)


def _show(event: "Event", sink: str, preview: "Preview", out: Output, *, json: bool, first: bool) -> None:
    from poller.redaction import redact

    fields = {name: redact(value) for name, value in preview.fields.items()}
    body = redact(preview.body.decode())
    if json:
        out.document(
            {
                "sink": sink,
                "event_id": event.id,
                "event_type": event.type,
                "to": redact(preview.to),
                "fields": fields,
                "body": body,
            }
        )
        return
    if not first:
        out.line()
    out.line(printable(redact(preview.to)))
    for name, value in fields.items():
        out.line(f"{name}: {printable(value)}")
    out.line()
    out.line("".join(sign if sign == "\n" else printable(sign) for sign in body))


def _tell_rejected(event: "Event", sink: str, error: str, out: Output, *, json: bool) -> None:
    from poller.redaction import redact

    if json:
        out.document({"sink": sink, "event_id": event.id, "event_type": event.type, "rejected": redact(error)})
    out.say(f"{event.kind}: would be a dead letter of {sink}: {redact(error)}")
