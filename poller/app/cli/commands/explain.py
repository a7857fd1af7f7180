"""`omics-poller explain`: how the account is asked, what that costs, and how soon it knows."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AsJson, AwsOptions, ConfigPath
from poller.app.cli.output import Out

if TYPE_CHECKING:
    from datetime import datetime

    from poller.app.cli.records import Record
    from poller.core.plan import Plan


async def explain(
    *,
    json: AsJson = False,
    config: ConfigPath = None,
    aws: AwsOptions = NO_AWS,
    out: Out,
) -> ExitCode:
    """Say how the daemon asks, in words and figures: which lists and runs, how often, at what cost, how soon it knows.

    The daemon writes its plan down every minute. Before its first one, the plan is reckoned from the runs on record.
    With `--json` one document for each scope.

    **Examples**

    `omics-poller explain -c config.toml`
    """
    from datetime import UTC, datetime

    from poller.app.cli.boards import spell_span
    from poller.app.cli.records import open_record
    from poller.core.plan import in_words

    async with open_record(config, aws) as record:
        scopes = await record.scopes()
        for number, address in enumerate(scopes.addresses):
            plan, at = await _plan(record, address.name)
            if json:
                written = None if at is None else at.isoformat().replace("+00:00", "Z")
                out.document({"scope": address.name, "at": written, "plan": asdict(plan)})
                continue
            if number:
                out.line()
            now = datetime.now(UTC)
            since = "reckoned from the record" if at is None else f"as of {spell_span(now - at)} ago"
            out.line(f"{address.name}, {since}")
            for sentence in in_words(plan):
                out.line(f"  {sentence}")
    return ExitCode.OK


async def _plan(record: "Record", scope: str) -> "tuple[Plan, datetime | None]":
    """The plan that a daemon wrote down and when; or, without one, what the runs on record would take."""
    from datetime import UTC, datetime, timedelta

    from pydantic import TypeAdapter

    from poller.app.build import pace_of
    from poller.core.cadence import next_look
    from poller.core.plan import Plan, plan_of
    from poller.core.planner import Planner

    state = await record.store.scope(scope)
    if state is not None and state.plan:
        written = dict(state.plan)
        at = datetime.fromisoformat(written.pop("at"))
        return TypeAdapter(Plan).validate_python(written), at
    pace = pace_of(record.loaded.settings)
    low, high = pace.min_interval, pace.max_interval
    planner = Planner(low=low.total_seconds(), high=high.total_seconds())
    now = datetime.now(UTC)
    for known in await record.store.live_runs(scope):
        due = next_look(min(known.since or now, now), now, low, high, 0) - now
        planner.follow(known, due / timedelta(seconds=1), shown=0.0)
    return plan_of(planner.outline(0.0), {"GetRun": pace.ceiling, "ListRuns": pace.ceiling}), None
