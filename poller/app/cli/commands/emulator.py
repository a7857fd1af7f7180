"""`omics-poller emulator`: an emulated HealthOmics, alone, for people who test their own programs."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import parse_count
from poller.app.cli.output import Out
from poller.core.errors import ConfigError

if TYPE_CHECKING:
    from poller.emulator import Scenario


async def emulator(
    scenario: Annotated[
        Path | None, Parameter(name="SCENARIO", help="A scenario file (TOML); default: no runs, until one is started.")
    ] = None,
    /,
    *,
    runs: Annotated[int | None, Parameter(help="So many runs with random lives, started over ten minutes.")] = None,
    batch: Annotated[int | None, Parameter(help="A batch of so many runs with random lives, up to 100,000.")] = None,
    speed: Annotated[
        float, Parameter(show_default=True, help="How much faster runs live: at 60 an hour takes a minute.")
    ] = 1.0,
    port: Annotated[int, Parameter(show_default=True, help="Port to listen on; 0: any free one.")] = 0,
    host: Annotated[str, Parameter(show_default=True, help="Address to listen on.")] = "127.0.0.1",
    seed: Annotated[int, Parameter(help="Of random lives and chance.")] = 0,
    out: Out,
) -> ExitCode:
    """Serve an emulated HealthOmics over HTTP until SIGTERM or SIGINT.

    The first line on stdout is `{"url": "http://127.0.0.1:PORT"}`. Plain boto3 and the AWS CLI work against it; the
    environment that leads them there is printed on stderr.

    **Examples**

    `omics-poller emulator --runs 20 --speed 60`

    `omics-poller emulator --batch 5000 --speed 60`

    `omics-poller emulator scenario.toml --port 8790`
    """
    import anyio

    from poller.emulator import Emulator

    if not 0 <= port <= 65535:
        raise ConfigError(f"--port {port}: must be from 0 to 65535")
    if not 0 < speed < float("inf"):
        raise ConfigError(f"--speed {speed:g}: must be above 0")
    world = _scenario(scenario, runs, batch, seed)
    try:
        async with Emulator(world, host=host, port=port, speed=speed, seed=seed) as serving:
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                out.document({"url": serving.url})
                for name, value in serving.environment().items():
                    out.say(f"export {name}={value}", as_it_is=True)
                if not (world.runs or world.batches):
                    out.say("no runs yet: StartRun starts some, as do --runs N, --batch N and a scenario file")
                async for _ in signals:
                    break
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise ConfigError(f"{host}:{port} cannot be listened on: {error.strerror or error}") from None
    return ExitCode.OK


def _scenario(path: Path | None, runs: int | None, batch: int | None, seed: int) -> "Scenario":
    from dataclasses import replace

    from poller.emulator import SERVICE_QUOTAS, Scenario, ScenarioError, random_batch, random_scenario

    try:
        world = Scenario.load(path, seed=seed) if path is not None else Scenario()
    except ScenarioError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if runs is not None:
        more = random_scenario(parse_count("--runs", runs), seed)
        world = replace(world, runs=(*world.runs, *more.runs))
    if batch is not None:
        try:
            world = replace(world, batches=(*world.batches, random_batch(parse_count("--batch", batch))))
        except ValueError as error:
            raise ConfigError(f"--batch {batch}: {error}") from None
    if path is None and (runs is not None or batch is not None):
        world = replace(world, quota_per_second=SERVICE_QUOTAS)
    return world
