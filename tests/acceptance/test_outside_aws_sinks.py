"""SNS, SQS and EventBridge from outside: 60 runs, the installed daemon, and moto behind a proxy that fails."""

import json
import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from poller.aws import AwsSessions
from poller.core.samples import sample_event
from tests.acceptance.crash_stage import Stage, account, stage
from tests.acceptance.crash_truth import Arrival, violations
from tests.acceptance.failing_aws import FAILS, FailingAws
from tests.acceptance.test_outside_bars import APART, HALF_A_SECOND, RUNS, life
from tests.conformance.aws_far_ends import ACCOUNT, Bus, Queue, Topic
from tests.waiting import becomes

pytestmark = [pytest.mark.service, pytest.mark.timeout(300), pytest.mark.usefixtures("aws_credentials")]

DOCUMENTATION: Final = Path(__file__).parents[2] / "docs" / "sinks.md"


def documented_rule() -> Any:
    """The rule of the documentation that takes AWS's own events and ours."""
    found = re.search(r"<!-- rule: both -->\n```json\n(.*?)^```$", DOCUMENTATION.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return json.loads(found[1])


async def far_ends(aws: AwsSessions, url: str) -> dict[str, Queue]:
    """A queue for each sink, behind what the sink sends to, by the name of the sink."""
    sns, sqs, events = [
        await aws.client(name, region="us-east-1", endpoint_url=url) for name in ("sns", "sqs", "events")
    ]
    name = f"runs-{uuid4().hex}"
    made = {
        "topic": Topic(sns, sqs, f"{name}-topic"),
        "topic-fifo": Topic(sns, sqs, f"{name}-topic.fifo"),
        "queue": Queue(sqs, f"{name}-queue"),
        "queue-fifo": Queue(sqs, f"{name}-queue.fifo"),
        "bus": Bus(events, sqs, f"{name}-bus", documented_rule()),
    }
    for one in made.values():
        await one.make()
    return made


def sinks(queues: dict[str, Queue], proxy: str) -> str:
    """The tables of the configuration, behind the last key of the webhook's."""

    def target(queue: Queue) -> str:
        if isinstance(queue, Topic):
            return f'type = "sns"\ntopic_arn = "{queue.topic_arn}"'
        if isinstance(queue, Bus):
            return f'type = "eventbridge"\nevent_bus = "{queue.name}"'
        return f'type = "sqs"\nqueue_url = "{proxy}/{ACCOUNT}/{queue.name}"'

    where = f'region = "us-east-1"\nendpoint_url = "{proxy}"\ntimeout = "5s"\nconcurrency = 2\n'
    return "".join(f'\n[[sinks]]\nname = "{name}"\n{target(queue)}\n{where}' for name, queue in queues.items())


def arrivals_in(bodies: Sequence[bytes]) -> list[Arrival]:
    """What a queue holds of runs, as the independent reader reads it: what is in a queue was taken."""
    now = datetime.now(UTC)
    events = [(json.loads(body), body) for body in bodies]
    return [
        Arrival(event["id"], body, now, True, 204)
        for event, body in events
        if event["type"].startswith("healthomics.run.")
    ]


async def follow(play: Stage, queues: dict[str, Queue], chance: random.Random) -> None:
    """60 runs to their ends, with a SIGKILL amid them, and until each queue has all that the webhook has."""
    await play.start_daemon()
    await play.until(lambda: play.discovery_has_begun)
    for number in range(RUNS):
        play.start_run(life(chance), name=f"s-{number}", starts_in=number * APART)
    await play.until(lambda: len(play.receiver.arrivals) >= 100)
    await play.daemon.kill()
    await play.start_daemon()
    await play.caught_up(RUNS)
    told = {arrival.identity for arrival in play.receiver.arrivals}
    missing: dict[str, int] = {}

    async def all_told() -> bool:
        nonlocal missing
        assert play.daemon.lives, play.daemon.log
        found = {name: {one.identity for one in arrivals_in(await queue.received())} for name, queue in queues.items()}
        missing = {name: len(told - ids) for name, ids in found.items() if told - ids}
        return not missing

    await becomes(all_told, lambda: f"missing {missing}\n{play.daemon.log}", pause_seconds=0.5)


async def test_every_transition_reaches_sns_sqs_and_eventbridge_in_order_though_every_fifth_answer_fails(
    moto_url: str, tmp_path: Path
) -> None:
    """And though the daemon is killed amid it."""
    chance = random.Random(60)
    aws, proxy = AwsSessions(), FailingAws(moto_url, random.Random(5))
    try:
        queues = await far_ends(aws, moto_url)
        async with (
            account(seed=60) as emulator,
            proxy.serving(),
            stage(tmp_path, emulator, polling=HALF_A_SECOND, sink=sinks(queues, proxy.url)) as play,
        ):
            await follow(play, queues, chance)
            assert await play.daemon.stop() == 0
            lives = await play.truth()
            assert await play.violations() == [], "webhook"
            told = {arrival.identity for arrival in play.receiver.arrivals}
            for name, queue in queues.items():
                arrivals = arrivals_in(await queue.received())
                assert violations(lives, arrivals) == [], name
                assert {arrival.identity for arrival in arrivals} == told, name
                if name.endswith("fifo"):
                    assert len(arrivals) == len(told), f"{name} dropped what it had already"
            figures = {name: len(queue.bodies) for name, queue in queues.items()}
    finally:
        await aws.close()
    failed = sum(proxy.failed.values())
    print(f"\n{len(told)} events, in the queues {figures}; {failed} of {proxy.asked} requests failed: {proxy.failed}")  # noqa: T201 - figures for whoever runs it with -s
    assert failed > proxy.asked * FAILS / 2
    assert len(proxy.failed) == 5, "each kind of failure was met"


def test_the_rule_of_the_documentation_takes_aws_s_own_events_and_ours() -> None:
    from moto.events.models import EventPattern

    rule = EventPattern.load(json.dumps(documented_rule()))

    def takes(source: str, kind: str) -> bool:
        return bool(rule.matches_event({"source": source, "detail-type": kind, "detail": {}}))

    assert takes("aws.omics", "Run Status Change")
    assert takes("healthomics-poller", sample_event("failed").type)
    assert not takes("aws.ec2", "EC2 Instance State-change Notification")
    assert not takes("healthomics-poller", sample_event("batch.failed").type)
