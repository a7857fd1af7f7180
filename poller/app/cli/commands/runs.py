"""`omics-poller runs`: the runs on record."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import AsJson, ConfigPath, parse_count
from poller.app.cli.output import Out

if TYPE_CHECKING:
    from poller.ports.records import RunRow


async def runs(
    *,
    live: Annotated[bool, Parameter(help="Only runs that have not ended.")] = False,
    limit: Annotated[int, Parameter(show_default=True, help="At most so many, those that changed last.")] = 1000,
    json: AsJson = False,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """List the runs on record, last changed first; also while a daemon runs.

    **Examples**

    `omics-poller runs --live -c config.toml`

    `omics-poller runs --json -c config.toml | jq -r 'select(.status == "FAILED") | .run_id'`
    """
    from datetime import UTC, datetime

    from poller.app.cli.boards import spell_span
    from poller.app.cli.records import following, json_of_run, open_record, status_of

    parse_count("--limit", limit)
    async with open_record(config) as record:
        rows = await record.store.runs(live_only=live, limit=limit)
        follows = await following(record)
        if json:
            for row in rows:
                out.document(json_of_run(row, followed=follows(row)[0]))
            return ExitCode.OK
        now = datetime.now(UTC)
        several = len(record.loaded.settings.aws) > 1 or len({row.scope for row in rows}) > 1
        out.table(
            (*(("Scope",) if several else ()), "Run", "Name", "Status", "For", ""),
            (
                (
                    *((row.scope,) if several else ()),
                    row.known.run_id,
                    row.snapshot.get("name"),
                    status_of(row),
                    spell_span(now - row.known.since) if row.known.since is not None else "",
                    _mark(row, *follows(row)),
                )
                for row in rows
            ),
        )
    if len(rows) == limit:
        out.say(f"these are the {limit} that changed last; --limit shows more")
    return ExitCode.OK


def _mark(row: "RunRow", followed: bool, why: str) -> str:
    """What the list says of a run that should be followed and is not."""
    return "" if followed or not row.known.live else "muted" if "muted" in why else "not followed"
