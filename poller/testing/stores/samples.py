"""What the suite writes into stores: drafts, runs and settlements, all about one moment."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from poller.core.deliveries import Delivery, DeliveryState, Settlement
from poller.core.drafts import Draft
from poller.core.runs import Evidence, KnownRun
from poller.ports import Round, Store

AT: Final = datetime(2026, 11, 23, 8, 0, 0, 123456, tzinfo=UTC)
SCOPE: Final = "research"
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)


def sample_draft(run_id: str = "1", step: int = 1, *, incarnation: str | None = "life", **changes: Any) -> Draft:
    """The draft of one step of one life of a run; the same arguments make the same id."""
    kind = changes.pop("kind", "running")
    data: dict[str, Any] = {
        "run_id": run_id,
        "run_arn": source_of(run_id),
        "run_uuid": incarnation,
        "name": f"sample of run {run_id}",
        "previous_status": None,
        "status": kind.upper(),
        "skipped_statuses": [],
        "terminal": False,
        "first_observation": True,
        "occurred_at": "2026-11-23T08:00:00Z",
        "occurred_at_source": "observed_at",
        "observed_at": "2026-11-23T08:00:00Z",
        "not_before": None,
        "status_message": f"a secret of run {run_id}, é",
        "tags": {"patient": f"P-{run_id}"},
        "region": "us-east-1",
        "account_id": "123456789012",
        "console_url": f"https://us-east-1.console.aws.amazon.com/omics/home?region=us-east-1#/runs/{run_id}",
    }
    draft = Draft(
        id=f"{run_id}/{incarnation}/{step}",
        source=source_of(run_id),
        type=f"healthomics.run.{kind}",
        subject=run_id,
        time=AT,
        data=data,
        incarnation=incarnation,
        run_id=run_id,
    )
    return replace(draft, **changes)


def source_of(run_id: str) -> str:
    """The lane of a run's events."""
    return f"arn:aws:omics:us-east-1:123456789012:run/{run_id}"


def sample_run(run_id: str = "1", **changes: Any) -> KnownRun:
    """A run in its middle, with something in every kind of field."""
    seen = Evidence("COMPLETED", AT, AT + MINUTE, start_time=AT)
    run = KnownRun(
        run_id,
        by_rule=True,
        uuid="life",
        creation_time=AT - DAY,
        incarnation="life",
        status="RUNNING",
        since=AT,
        since_by="stamp",
        seen_at=AT,
        looked=True,
        told=True,
        question=None,
        evidence=(seen,),
        unknown_statuses=("PAUSED",),
        workflow_id="7",
        workflow_version="1.0",
        run_group_id="9",
        overdue_in="STARTING",
    )
    return replace(run, **changes)


def done(delivery: Delivery, at: datetime = AT) -> Settlement:
    """The settlement of a delivery that the far end acknowledged."""
    return Settlement(delivery.id, DeliveryState.ACKNOWLEDGED, at, attempts=delivery.attempts)


def later(delivery: Delivery, due: datetime, at: datetime = AT) -> Settlement:
    """The settlement of a delivery that is tried again."""
    return Settlement(delivery.id, DeliveryState.PENDING, at, due=due, attempts=delivery.attempts + 1, error="503")


def dead(delivery: Delivery, at: datetime = AT) -> Settlement:
    """The settlement of a delivery that is given up."""
    return Settlement(delivery.id, DeliveryState.DEAD, at, attempts=delivery.attempts + 1, error="rejected: 422")


async def tell(store: Store, *drafts: Draft, runs: Sequence[KnownRun] = (), at: datetime = AT) -> list[int]:
    """Commit drafts, and runs if any; the positions of those that were new."""
    events = await store.commit_round(Round(at, SCOPE, runs=runs, drafts=drafts))
    return [event.position for event in events]


async def steps_claimed(store: Store, sink: str, *, now: datetime = AT, limit: int = 100) -> list[str]:
    """Claim, and say which event ids came, in their order."""
    return [delivery.event.id for delivery in await store.claim(sink, now=now, limit=limit)]
