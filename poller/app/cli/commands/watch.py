"""`omics-poller watch`: follow runs to their end; the exit code tells a CI job how they ended."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import NO_AWS, AsJson, AwsOptions, RunIds, check_aws, parse_runs, parse_span
from poller.app.cli.output import Out, Output
from poller.core.errors import ConfigError, PollerError

if TYPE_CHECKING:
    from poller.app.cli.boards import Board
    from poller.app.cli.following import Followed
    from poller.app.library import Poller
    from poller.core.runs import RunName
    from poller.settings.model import Settings

ACCESS_SECONDS: Final = 60.0
"""Without one answer for so long after the start the caller has given us nothing to work with."""
TROUBLE_SECONDS: Final = 5.0
"""Of failing looks, before the person who waits is told why nothing happens."""
REFRESH_SECONDS: Final = 0.5
WHY_SECONDS: Final = 3.0
"""How long is waited in the end for why a run failed: that is asked for once the failure was told."""
MOST_EXPLAINED: Final = 10
"""Runs of which it is said in the end why they failed."""


async def watch(
    run_ids: RunIds,
    /,
    *,
    until: Annotated[str | None, Parameter(help="Follow only until this status is reached, such as RUNNING.")] = None,
    patience: Annotated[
        str | None, Parameter(name="--timeout", help="Give up after so long, such as 2h; default: never.")
    ] = None,
    json: AsJson = False,
    min_interval: Annotated[
        str, Parameter(show_default=True, help="Shortest wait between two looks at one run.")
    ] = "5s",
    aws: AwsOptions = NO_AWS,
    out: Out,
) -> ExitCode:
    """Follow runs until all have ended: a live table on a terminal, a line for each step elsewhere.

    Nothing needs to be configured and nothing is stored. With `--json` each line on stdout is an event, as a sink would
    get it; without, it says in the end of each run that failed why, and what to do, as far as that is found out within
    three seconds. Runs that are named by ARN may be in several regions. While the account cannot be seen it waits,
    until `--timeout`.

    **Exit codes**, of several the first in this order:
    130 interrupted ·
    124 timed out ·
    1 error, or no access within 60 s of the start ·
    10 some FAILED ·
    12 some vanished, unreachable, or replaced under their id ·
    11 some CANCELLED or DELETED ·
    0 all COMPLETED, or reached `--until`.
    Also 2: wrong usage.

    **Examples**

    `omics-poller watch 1234567`

    `omics-poller watch 1234567 7654321 --timeout 2h --json | jq -r .type`

    `omics-poller watch 1234567 --until RUNNING && echo started`
    """
    names = parse_runs(run_ids)
    goal = _status(until) if until is not None else None
    limit = parse_span("--timeout", patience).total_seconds() if patience is not None else None
    settings = _settings(names, check_aws(aws), parse_span("--min-interval", min_interval))

    from poller.app.cli.following import Followed, exit_code, summary

    by_region = len(settings.aws) > 1
    places = dict.fromkeys((name.region if by_region else None, name.run_id) for name in names)
    runs = [Followed(run_id, goal, region=region) for region, run_id in places]
    ended = await _follow(runs, settings, out, json=json, limit=limit)
    if not json:
        _say_why(runs, out)
    if not ended:
        out.say(f"timed out after {patience}: {summary(runs)}")
        return exit_code(runs, otherwise=ExitCode.TIMED_OUT)
    out.say(summary(runs))
    return exit_code(runs, otherwise=ExitCode.ERROR)


def _say_why(runs: "Sequence[Followed]", out: Output) -> None:
    """Of those that failed why they did, as far as that is known by now."""
    from poller.app.cli.output import printable

    failed = [(run.run_id, run.why) for run in runs if run.why is not None]
    for run_id, why in failed[:MOST_EXPLAINED]:
        out.say(printable(f"run {run_id} failed: {why}"))
    if len(failed) > MOST_EXPLAINED:
        out.say(f"… and {len(failed) - MOST_EXPLAINED} more")


async def _follow(
    runs: "Sequence[Followed]", settings: "Settings", out: Output, *, json: bool, limit: float | None
) -> bool:
    """Follow until all have ended, and a little longer for why they failed; False if the time was up before."""
    import anyio

    from poller.app.cli.boards import JsonBoard, LineBoard, LiveBoard
    from poller.app.cli.progress import Progress
    from poller.app.library import Poller
    from poller.clock import SystemClock

    several = len(settings.aws) > 1
    followed = {(run.region, run.run_id): run for run in runs}
    live = out.on_terminal and not json
    clock = SystemClock()
    board: Board
    async with Poller(settings=settings) as poller, anyio.create_task_group() as tasks:
        if live:
            counting = {
                region: Progress(
                    partial(_running, [run for run in runs if run.region in (None, region)]),
                    clock,
                    region=region,
                    profile=aws.profile,
                    endpoint_url=aws.endpoint_url,
                )
                for aws, region in zip(settings.aws, poller.regions, strict=True)
            }
            for progress in counting.values():
                tasks.start_soon(progress.run, name="task progress")
            board = LiveBoard(
                out, runs, lambda run: counting[run.region or poller.regions[0]].counts.get(run.run_id), clock.now
            )
        else:
            board = JsonBoard(out) if json else LineBoard(out)
        with board:
            tasks.start_soon(_keep_an_eye, poller, board, name="access")
            with anyio.move_on_after(limit), anyio.CancelScope() as explaining:
                await poller.watch(*(f"{run.region}:{run.run_id}" if run.region else run.run_id for run in runs))
                async for event in poller.events():
                    run = followed.get((event.data.get("region") if several else None, event.run_id or ""))
                    if run is not None:
                        run.take(event)
                    board.event(event)
                    if all(one.code is not None for one in runs):
                        if json or not any(one.unexplained for one in runs):
                            break
                        explaining.deadline = min(explaining.deadline, anyio.current_time() + WHY_SECONDS)
            tasks.cancel_scope.cancel()
    return all(run.code is not None for run in runs)


def _running(runs: "Sequence[Followed]") -> list[str]:
    return [run.run_id for run in runs if run.status == "RUNNING" and run.code is None]


async def _keep_an_eye(poller: "Poller", board: "Board") -> None:
    """Refresh the board, say why nothing happens, and give up if there never was any access.

    Raises: PollerError for that.
    """
    import anyio

    started = anyio.current_time()
    said: str | None = None
    seen = False
    crashes = 0
    while True:
        await anyio.sleep(REFRESH_SECONDS)
        board.refresh()
        waited = anyio.current_time() - started
        sight = poller.sight
        seen = seen or sight.last_success_at is not None
        if not seen and waited >= ACCESS_SECONDS:
            raise PollerError(f"no access within {ACCESS_SECONDS:g} s: {sight.detail or 'no answer'}")
        if poller.crashes > crashes:
            crashes = poller.crashes
            board.say(f"a part of the poller crashed ({crashes}) and goes on; --debug shows why")
        if sight.failing_since is None:
            said = None
        elif said is None and waited >= TROUBLE_SECONDS and sight.detail:
            said = sight.detail
            board.say(f"cannot see the account, trying on: {said}")


def _status(text: str) -> str:
    """A status as the service spells it. Raises: ConfigError naming all."""
    from poller.core.statuses import RANK

    status = text.upper()
    if status not in RANK:
        raise ConfigError(f"--until {text!r}: no such status; there are {', '.join(RANK)}")
    return status


def _settings(names: "Sequence[RunName]", aws: dict[str, str], low: timedelta) -> "Settings":
    """A configuration that follows nothing yet, in the regions of the runs. Raises: ConfigError."""
    from poller.core.values import format_duration
    from poller.settings.load import settings_from

    regions = sorted({name.region for name in names if name.region is not None})
    accounts = sorted({name.account_id for name in names if name.account_id is not None})
    asked = aws.get("region")
    scopes = sorted({name.scope for name in names if name.scope is not None})
    if scopes:
        raise ConfigError(f"{scopes[0]}: scopes are names of a configuration; give `watch` the bare id")
    if len(accounts) > 1:
        raise ConfigError(f"the runs are of {' and '.join(accounts)}; watch one account at a time")
    for region in regions:
        if asked not in (None, region):
            raise ConfigError(f"--region {asked}: the run is in {region}")
    bare = next((name.run_id for name in names if name.region is None), None)
    if len(regions) > 1 and bare is not None:
        raise ConfigError(f"run {bare}: in which of {' and '.join(regions)} is it? Give its ARN")
    tables = [{**aws, "region": region} for region in regions] or [aws]
    second = timedelta(seconds=1)
    try:
        return settings_from(
            {
                "aws": tables,
                "polling": {
                    "min_interval": format_duration(low),
                    "max_interval": format_duration(max(low, 60 * second)),
                    "vanish_deadline": format_duration(max(3 * low, 30 * second)),
                    "blind_after": format_duration(max(low, 300 * second)),
                    "discover_ended": 0,
                },
                "store": {"url": "sqlite://"},
                "http": {"listen": ""},
            }
        )
    except ConfigError as error:
        raise ConfigError(f"--min-interval {format_duration(low)}: {error}") from None
