"""The demonstration, from an empty directory to the verdict.

It is the daemon of `omics-poller run`, with a configuration as anybody could write it; only the account is emulated,
and the receiver of the webhook is ours.
"""

import base64
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import anyio

from poller.app.build import Parts, open_parts
from poller.app.cli.output import Output
from poller.app.daemon import holder_name, run_parts
from poller.app.demo.inbox import PATH, Inbox
from poller.app.demo.judge import Report, judge
from poller.app.demo.shows import Show, show_on
from poller.app.receiver.receiving import Receiver
from poller.app.receiver.serving import listening
from poller.emulator import Emulator, RunSpec, demo_scenario
from poller.settings.load import load_settings

LONGEST: Final = 27.0
"""Seconds after which the demo ends, whatever is missing."""
LOOK_EVERY: Final = 0.1
QUIET_SECONDS: Final = 0.4
"""What is given to stray repetitions, after all was told."""

CONFIGURATION: Final = """\
[aws]
region = "us-east-1"
endpoint_url = "{emulator}"      # leave it out for the real HealthOmics

[watch]
discover = true                  # every run that is active, and every new one

[polling]
min_interval = "250ms"           # the demo's runs live for seconds; for real ones leave these out
max_interval = "1s"
max_calls_per_second = 9
vanish_deadline = "3s"

[store]
url = "sqlite:///omics-poller.db"

[http]
listen = ""

[[sinks]]
name = "receiver"
type = "webhook"
url = "{receiver}"
secret = "${{DEMO_WEBHOOK_SECRET}}"
"""


async def perform(out: Output) -> bool:
    """Play the whole demonstration; whether everything was told that had to be."""
    scenario = demo_scenario()
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    inbox = Inbox()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="omics-poller-demo-") as place:
        empty = replace(scenario, runs=())
        async with listening(Receiver([secret], inbox.take)) as here, Emulator(empty, seed=1) as emulator:
            with process_environment(emulator.url, secret):
                path = Path(place) / "config.toml"
                path.write_text(CONFIGURATION.format(emulator=emulator.url, receiver=here + PATH), encoding="utf-8")
                loaded = load_settings(path)
                out.line(f"# An emulated HealthOmics at {emulator.url}, a webhook receiver, and this configuration:\n")
                out.line(loaded.text)
                show = show_on(out, started)
                async with open_parts(loaded.settings, loaded.directory, holder=holder_name()) as parts:
                    with show:
                        await _play(parts, emulator, inbox, show, scenario.runs, started)
                report = judge(emulator.history(), inbox.received)
        _conclude(out, report, inbox, emulator.call_counts, time.monotonic() - started)
    return report.finished and inbox.forged == 0


async def _play(
    parts: Parts, emulator: Emulator, inbox: Inbox, show: Show, runs: Sequence[RunSpec], started: float
) -> None:
    """Run the daemon until everything has happened and was told, or the time is up; then stop it as SIGTERM would."""
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_parts, parts, stop, name="daemon")
        waiting, shown = list(runs), 0
        while time.monotonic() - started < LONGEST:
            await anyio.sleep(LOOK_EVERY)
            if waiting and _sees(parts):  # runs start once somebody looks, so that each status can be seen
                for run in waiting:
                    emulator.start_run_as(run)
                waiting.clear()
            for one in inbox.received[shown:]:
                shown += 1
                show.take(one)
            show.refresh()
            report = judge(emulator.history(), inbox.received)
            if report.incarnations == len(runs) and report.finished and _all_ended(emulator):
                await anyio.sleep(QUIET_SECONDS)
                break
        stop.set()


def _sees(parts: Parts) -> bool:
    """Whether the daemon has had an answer."""
    rounds = parts.scopes[0].rounds
    return rounds is not None and rounds.access.sight.last_success_at is not None


def _all_ended(emulator: Emulator) -> bool:
    """Whether no run that the emulator knows will still move on: all have ended, or are gone."""
    last = {transition.uuid: transition.status for transition in emulator.history()}
    return all(status not in ("PENDING", "STARTING", "RUNNING", "STOPPING") for status in last.values())


def _conclude(out: Output, report: Report, inbox: Inbox, calls: Mapping[str, int], seconds: float) -> None:
    delays = [delay.total_seconds() for delay in report.delays]
    out.line()
    out.facts(
        [
            ("runs", f"{report.incarnations}, each to its end or until it vanished"),
            (
                "transitions",
                f"{report.transitions} happened, {report.told} told as they happened"
                + (f", {report.skipped} too short to be seen and told as skipped" if report.skipped else ""),
            ),
            (
                "deliveries",
                f"{len(inbox.received)} acknowledged, {inbox.forged} with a wrong signature"
                + (f", {inbox.repeated} repeated" if inbox.repeated else ""),
            ),
            (
                "delay",
                f"mean {_mean(delays):.2f} s, at most {max(delays, default=0.0):.2f} s"
                " from a transition to its acknowledgement",
            ),
            ("asked", ", ".join(f"{number} {name}" for name, number in sorted(calls.items()))),
            ("took", f"{seconds:.0f} s"),
        ]
    )
    for complaint in report.complaints:
        out.line(f"MISSING  {complaint}")
    if inbox.forged:
        out.line(f"WRONG    {inbox.forged} deliveries did not carry a valid signature")
    if report.finished and not inbox.forged:
        out.line("Everything that happened was told, in order, with valid signatures.")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


@contextmanager
def process_environment(emulator: str, secret: str) -> Iterator[None]:
    """Within this process, and for as long as the demo lasts: credentials that are worth nothing, and no others."""
    ours = {
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_STS": emulator,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "DEMO_WEBHOOK_SECRET": secret,
    }
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(ours)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
