"""`omics-poller show`: all that is known of a run."""

from json import dumps
from typing import Final

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AsJson, AwsOptions, ConfigPath, OneRun
from poller.app.cli.output import Out

_SAID_ALREADY: Final = ("id", "runId", "uuid", "status")


async def show(
    run_id: OneRun,
    /,
    *,
    json: AsJson = False,
    config: ConfigPath = None,
    aws: AwsOptions = NO_AWS,
    out: Out,
) -> ExitCode:
    """Show what is on record of a run: where it stands, what GetRun said last, why it failed, and its events.

    With `--json` one document: `run`, `snapshot` (the fields of GetRun by the service's names), `diagnosis` (null where
    none was told), `events`.

    **Examples**

    `omics-poller show 1234567 -c config.toml`
    """
    from poller.app.cli.boards import listed
    from poller.app.cli.failures import diagnosis_in, facts_of, lines_of
    from poller.app.cli.output import printable
    from poller.app.cli.records import following, json_of_run, open_record, status_of
    from poller.core.events import stamp

    async with open_record(config, aws) as record:
        row = await record.row(run_id)
        events = await record.store.events(run_id=row.known.run_id, scope=row.scope)
        diagnosis = diagnosis_in(events, row.known.uuid)
        followed, why = (await following(record))(row)
        if json:
            told = [{"position": event.position, "event": event.attributes} for event in events]
            run = json_of_run(row, followed=followed)
            shown = {"run": run, "snapshot": dict(row.snapshot), "diagnosis": diagnosis, "events": told}
            out.document(shown)
            return ExitCode.OK
        known = row.known
        out.facts(
            [
                ("run", known.run_id),
                ("status", status_of(row)),
                ("since", stamp(known.since) if known.since is not None else None),
                ("uuid", known.uuid),
                ("scope", row.scope),
                ("followed", why),
                *((name, _shown(value)) for name, value in row.snapshot.items() if name not in _SAID_ALREADY),
            ]
        )
        if diagnosis is not None:
            out.line()
            out.facts(facts_of(diagnosis))
            for line in lines_of(diagnosis):
                out.line(f"    {printable(line)}")
        out.line()
        for event in events:
            out.line(listed(event))
    return ExitCode.OK


def _shown(value: object) -> str | None:
    """A field of GetRun; None for an empty one."""
    if isinstance(value, dict | list):
        return dumps(value, ensure_ascii=False) if value else None
    return None if value is None else str(value)
