"""`omics-poller replay`: send events again."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from poller.app.cli.commands.events import event_types
from poller.app.cli.exits import ExitCode
from poller.app.cli.options import AsJson, ConfigPath, parse_run, parse_since
from poller.app.cli.output import Out, Output
from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poller.app.cli.records import Record
    from poller.core.deliveries import Replayable


async def replay(
    *,
    run: Annotated[str | None, Parameter(help="Only events of this run.")] = None,
    sink: Annotated[str | None, Parameter(help="Only what this sink had, or gave up.")] = None,
    dead: Annotated[bool, Parameter(help="Only dead letters.")] = False,
    type: Annotated[  # the name of the option
        tuple[str, ...], Parameter(help="Only this type, such as failed, or a glob; may be repeated.")
    ] = (),
    event: Annotated[tuple[str, ...], Parameter(help="Only the event with this id; may be repeated.")] = (),
    since: Annotated[
        str | None, Parameter(help="Only events recorded since then: a time, or 2h for two hours.")
    ] = None,
    until: Annotated[str | None, Parameter(help="Only events recorded before then.")] = None,
    to: Annotated[str | None, Parameter(help="Send them to this sink, instead of those that had them.")] = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Send without asking.")] = False,
    json: AsJson = False,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Send events again, byte for byte, after showing which; also while a daemon runs, which then sends them.

    Without --to they go to the sinks that acknowledged them or gave them up; with it to that sink alone, also those
    that it was never owed. What is still owed is left alone. At a terminal it asks; elsewhere nothing is sent without
    --yes.
    Receivers see the mark of a replay (the header `replay-id`, the message attribute `replay_id`), the same event `id`,
    and the events of each run in order. A dead letter that is sent again is one no more.

    **Examples**

    `omics-poller replay --dead --sink lims -c config.toml`

    `omics-poller replay --run 1234567 --to new-lims --yes -c config.toml`

    `omics-poller replay --type failed --since 1d --sink lims -c config.toml`
    """
    from datetime import UTC, datetime
    from uuid import uuid4

    from poller.app.cli.records import open_record
    from poller.core.deliveries import Selection

    if not (run or sink or dead or type or event or since or until):
        raise ConfigError("which events? Give --run, --sink, --dead, --type, --event, --since or --until")
    now = datetime.now(UTC)
    named = parse_run(run) if run is not None else None
    types = event_types(type) if type else None
    begin = parse_since("--since", since, now) if since is not None else None
    # without --until up to now: what is recorded while somebody decides is not sent again
    end = parse_since("--until", until, now, ahead=True) if until is not None else now
    if begin is not None and until is not None and begin >= end:
        raise ConfigError(f"--since {since!r} is not before --until {until!r}")
    async with open_record(config) as record:
        scope, run_id = await record.narrowed(named)
        for event_id in (ids := tuple(one.lower() for one in event)):
            await record.refuse_unknown_event("--event", event_id)
        wanted = Selection(run_id, scope, sink, types, begin, end, ids or None, dead)
        counts = await record.store.replayable(wanted, to=to)
        await _check_sinks(record, sink, to, counts)
        hint = None if counts else await record.hint_of_run(scope, run_id)
        replay_id = str(uuid4())
        sent = bool(counts) and (yes if json else _agreed(counts, out, unasked=yes))
        if sent:
            after: int | None = 0
            while after is not None:
                after = await record.store.replay(wanted, to=to, replay_id=replay_id, at=datetime.now(UTC), after=after)
    if json:
        out.document(
            {
                "replay_id": replay_id if sent else None,
                "sent": sent,
                "events": [{"sink": one.sink, "type": one.event_type, "events": one.events} for one in counts],
            }
        )
        return ExitCode.OK
    if not counts:
        out.say(hint or "no such event was acknowledged or given up: nothing to send again")
    if sent:
        out.say(f"owed again as replay {replay_id}; `omics-poller deliveries --replay {replay_id}` shows how it goes")
    return ExitCode.OK


def _agreed(counts: "Sequence[Replayable]", out: Output, *, unasked: bool) -> bool:
    """Show what would be sent, and ask unless it is sent `unasked`; False where nobody can be asked."""
    from poller.core.events import short_type

    out.table(("Sink", "Event", "Events"), ((one.sink, short_type(one.event_type), one.events) for one in counts))
    if unasked or out.can_ask:
        return unasked or out.ask("Send them again?")
    out.say("nothing was sent: this is a dry run; --yes sends")
    return False


async def _check_sinks(record: "Record", sink: str | None, to: str | None, counts: "Sequence[Replayable]") -> None:
    """Raises: ConfigError for a sink that there is none, and for one that nothing is sent to."""
    rows = {row.name: row for row in await record.store.sinks()}
    for option, name in (("--sink", sink), ("--to", to)):
        if name is not None and name not in rows:
            await record.sink(name, option=option)
    targets = [to] if to is not None else sorted({one.sink for one in counts})
    gone = [name for name in targets if not rows[name].in_force]
    if gone:
        raise ConfigError(
            f"{' and '.join(gone)}: not in the configuration that the daemon runs with, so nothing would be sent; "
            "--to names another sink"
        )
