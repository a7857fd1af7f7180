"""`omics-poller send-test`: a sample event of each kind through one configured sink."""

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from poller.app.cli.exits import ExitCode
from poller.app.cli.options import AsJson, ConfigPath, load_configuration
from poller.app.cli.output import Out

if TYPE_CHECKING:
    from poller.core.events import Event
    from poller.core.values import SinkSettings

SAMPLE: Final = "a sample, nothing has happened"


async def send_test(
    sink: Annotated[str, Parameter(name="SINK", help="The name of the sink in the configuration.")],
    /,
    *,
    json: AsJson = False,
    config: ConfigPath = None,
    out: Out,
) -> ExitCode:
    """Send a sample event of each kind that a sink takes, once each, and say how each went.

    The samples are told apart from real events by what they say: runs have the tag `event = "a sample, nothing has
    happened"` (unless `omit` leaves tags out) and the account 123456789012, the poller's own come from the instance
    `sample`. Nothing is recorded. Exit code 1 if one was not acknowledged.

    **Examples**

    `omics-poller send-test lims -c config.toml`
    """
    from poller.app.cli.configured_sinks import configured_sinks
    from poller.core.deliveries import Delivery
    from poller.delivery.attempts import attempt
    from poller.delivery.limits import Limit

    loaded = load_configuration(config)
    settings = loaded.sink(sink)
    taken, left = _samples(settings)
    failed = 0
    async with configured_sinks(loaded) as opened, opened(settings) as to:
        for event in taken:
            sent = event.without((*loaded.settings.privacy.omit, *settings.omit))
            delivery = Delivery(0, settings.name, event.source, sent)
            (outcome,) = await attempt(to, [delivery], [sent], Limit(settings.timeout.total_seconds()))
            failed += outcome.error is not None
            verdict = "acknowledged" if outcome.error is None else "rejected" if outcome.rejected else "failed"
            if json:
                out.document({"type": event.type, "id": event.id, "outcome": verdict, "error": outcome.error})
            else:
                out.line("  ".join(part for part in (f"{event.kind:<15}", verdict, outcome.error) if part))
    if left:
        out.say(f"not sent, since {settings.name} does not take them: {', '.join(left)}")
    out.say(f"{len(taken) - failed} of {len(taken)} samples acknowledged by {settings.name}")
    return ExitCode.ERROR if failed else ExitCode.OK


def _samples(settings: "SinkSettings") -> "tuple[list[Event], list[str]]":
    """A sample of each kind that the sink takes, and the kinds that it does not."""
    from datetime import UTC, datetime

    from poller.core.events import COHORT_FINISHED, POLLER_TYPES, short_type
    from poller.core.routing import Route
    from poller.core.runs import Json
    from poller.core.samples import SAMPLE_TYPES, sample_event

    now = datetime.now(UTC)
    route = Route.of(settings)
    taken, left = [], []
    for kind in SAMPLE_TYPES:
        if route.takes_type(kind):
            said: dict[str, Json] = {}
            if kind in POLLER_TYPES:
                said = {"detail": SAMPLE}
            elif kind == COHORT_FINISHED:
                said = {"cohort": SAMPLE}
            taken.append(sample_event(kind, at=now, **said))
        else:
            left.append(short_type(kind))
    return taken, left
