"""Settings -> Parts: the only place where adapters meet the engine."""

import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anyio
import structlog

from poller.clock import SystemClock
from poller.core.cadence import Pace
from poller.core.cohorts import Cohort
from poller.core.diagnosis import DiagnosisTerms
from poller.core.drafts import Place
from poller.core.errors import ConfigError
from poller.core.overdue import Terms, strictest
from poller.core.runs import RunName
from poller.core.statuses import ACTIVE
from poller.core.values import SinkSettings
from poller.delivery.dispatcher import Dispatcher
from poller.delivery.outlet import Outlet
from poller.foundation import Foundation, foundation_of
from poller.polling.rules import Rule
from poller.polling.scope import Scope
from poller.polling.twins import Twins
from poller.ports.clock import Clock
from poller.settings.model import AwsSettings, CohortSettings, Settings, WatchSettings
from poller.settings.scopes import Address, NoScopeError, account_of, find_scope, watches_by_scope
from poller.settings.texts import run_name

if TYPE_CHECKING:
    from poller.healthomics.service import HealthOmics

log = structlog.get_logger("poller.daemon")


@dataclass(slots=True)
class Parts:
    """A whole poller, put together and not running yet."""

    settings: Settings
    directory: Path
    foundation: Foundation
    scopes: list[Scope]
    dispatcher: Dispatcher
    make_outlets: Callable[[Sequence[SinkSettings]], list[Outlet]]
    twins: Twins | None
    _placed_by: tuple[object, ...] = ()
    _described: list[Cohort] = field(default_factory=list)

    @property
    def polling(self) -> dict[str, Callable[..., Awaitable[None]]]:
        """What runs for each scope, by the name of the part."""
        return {f"poll {scope.name}": scope.run for scope in self.scopes}

    async def finish_looks(self) -> None:
        """Look no more, and return once the answers in flight are committed. The caller sets the deadline."""
        async with anyio.create_task_group() as finishing:
            for scope in self.scopes:
                finishing.start_soon(scope.finish_looks)

    @property
    def addresses(self) -> list[Address]:
        """What a run's name is held against, scope by scope: how each is called, and where it is known to be."""
        return [
            Address(scope.name, scope.place.region, scope.account_id or account_of(aws))
            for scope, aws in zip(self.scopes, self.settings.aws, strict=True)
        ]

    def described_cohorts(self) -> list[Cohort]:
        """The cohorts of the configuration, with the runs that they name where these are by now."""
        if self.settings.cohort:
            placed_by = (*self.addresses, *(scope.recorded_as for scope in self.scopes))
            if placed_by != self._placed_by:  # many runs may be named, and each round asks
                named = [map(self._placed, map(run_name, one.run_ids)) for one in self.settings.cohort]
                self._described = list(map(cohort_of, self.settings.cohort, named))
                self._placed_by = placed_by
        return self._described

    def cohorts(self) -> list[Cohort]:
        """The cohorts of the configuration, and the batches that are followed: those of merged scopes in the first."""
        found = list(self.described_cohorts())
        for scope in self.scopes:
            batch_ids = [batch_id for rule in scope.rules for batch_id in rule.batches]
            found += [Cohort(batch_id, batch_id=batch_id, scope=scope.recorded_as) for batch_id in batch_ids]
        return list({one.key: one for one in found}.values())

    def _placed(self, run: RunName) -> RunName:
        """The run by the scope that the record has it in, as far as its name tells which that is."""
        try:
            return RunName(run.run_id, scope=self.scope_of(run).recorded_as)
        except ConfigError:
            return run

    def scope_of(self, run: RunName) -> Scope:
        """The scope of a run as somebody named it. Raises: ConfigError if that is none, or could be several."""
        try:
            return self.scopes[find_scope(run, self.addresses)]
        except NoScopeError as error:
            raise ConfigError(str(error)) from error


@asynccontextmanager
async def open_parts(
    settings: Settings,
    directory: Path,
    *,
    holder: str | None = None,
    clock: Clock | None = None,
    more_outlets: Sequence[Outlet] = (),
) -> AsyncIterator[Parts]:
    """Put a poller together, and close what it opened at the end.

    Args: `directory` is what relative paths are relative to; `holder` takes the record's lock for a daemon under that
    name; `more_outlets` are sinks that come as objects, not as settings.
    Raises: ConfigError, StoreError.
    """
    from poller.sinks.registry import make_sink
    from poller.sinks.toolbox import Tools
    from poller.store.opening import open_store

    clock = clock or SystemClock()
    tools = Tools(clock, directory)
    outlets: list[Outlet] = []

    def make_outlets(configured: Sequence[SinkSettings]) -> list[Outlet]:
        """Sinks as configured; one whose settings have not changed stays the object that it is."""
        made = []
        for one in configured:
            same = next((outlet for outlet in outlets if outlet.settings == one), None)
            omit = (*settings.privacy.omit, *one.omit)
            made.append(same or Outlet(make_sink(one, tools), one, omit))
        outlets[:] = made
        return [*made, *more_outlets]

    store = open_store(settings.store.url, directory=directory)
    foundation = foundation_of(store, clock, random.random)
    async with AsyncExitStack() as opened:  # what fails to close keeps nothing else open
        opened.push_async_callback(store.close)
        opened.push_async_callback(tools.close)
        opened.push_async_callback(_close_all, outlets)
        await store.open()
        if holder is not None:
            await store.hold(holder)
        include = tuple(settings.privacy.include)
        scopes = []
        for name, region, aws, watches in configured_scopes(settings):
            service = service_of(aws, region, clock, include)
            opened.push_async_callback(service.close)
            scopes.append(
                Scope(
                    foundation,
                    place=Place(name, region, None),
                    service=service,
                    instance=settings.daemon.instance,
                    pace=pace_of(settings),
                    rules=rules_of(watches),
                    terms=terms_of(watches),
                    diagnosis=diagnosis_of(settings),
                    include=include,
                )
            )
        twins = Twins(scopes) if len(scopes) > 1 else None
        for scope in scopes:
            scope.twins = twins
        dispatcher = Dispatcher(make_outlets(settings.sinks), foundation, instance=settings.daemon.instance)
        parts = Parts(settings, directory, foundation, scopes, dispatcher, make_outlets, twins)
        for scope in scopes:
            scope.cohorts = parts.described_cohorts
        yield parts


async def close_outlet(outlet: Outlet) -> None:
    """Free what a sink that is served no more had opened; what it raises then is its own affair."""
    from poller.sinks.registry import close_sink

    try:
        await close_sink(outlet.sink)
    except Exception:
        log.exception("sink.close_failed", sink=outlet.name)


async def _close_all(outlets: Sequence[Outlet]) -> None:
    for outlet in outlets:
        await close_outlet(outlet)


def resolve_region(aws: AwsSettings) -> str:
    """The region of a scope, found as every AWS tool finds it: the table, AWS_REGION, AWS_DEFAULT_REGION, the profile.

    Raises: ConfigError if there is none, or the profile does not exist.
    """
    if aws.region and not aws.profile:
        return aws.region
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        session = Session(profile=aws.profile)
        session.get_scoped_config()  # a profile that does not exist is said here, and not taken for blindness
        # botocore itself reads AWS_DEFAULT_REGION alone; the CLI and the other SDKs read AWS_REGION, and first
        region = aws.region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
    except BotoCoreError as error:
        raise ConfigError(f"[aws] profile: {error}") from error
    if not region:
        raise ConfigError("no region: set [aws] region, --region, AWS_REGION, or a region in the AWS profile")
    return str(region)


class ConfiguredScope(NamedTuple):
    """An `[[aws]]` table: how the record names the scope, where that is, and what is watched in it."""

    name: str
    region: str
    aws: AwsSettings
    watches: tuple[WatchSettings, ...]


def configured_scopes(settings: Settings) -> list[ConfiguredScope]:
    """The scopes of a configuration, in its order. Raises: ConfigError, also if two of them would have one name."""
    scopes: list[ConfiguredScope] = []
    for aws, watches in zip(settings.aws, watches_by_scope(settings), strict=True):
        region = resolve_region(aws)
        scopes.append(ConfiguredScope(aws.name or region, region, aws, watches))
    names = [scope.name for scope in scopes]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ConfigError(
                f"[[aws]] tables number {names.index(name) + 1} and {place + 1} are both {name}: name them"
            )
    return scopes


def service_of(aws: AwsSettings, region: str, clock: Clock, include: tuple[str, ...] = ()) -> "HealthOmics":
    """HealthOmics as a table says that it is asked. Args: `include` are the private fields that are kept."""
    from poller.aws import AwsSessions
    from poller.healthomics.service import HealthOmics

    return HealthOmics(
        AwsSessions(now=clock.now),
        clock,
        region=region,
        profile=aws.profile,
        role_arn=aws.role_arn,
        external_id=aws.external_id,
        endpoint_url=aws.endpoint_url,
        logs_endpoint_url=aws.logs_endpoint_url,
        include=include,
    )


def pace_of(settings: Settings) -> Pace:
    """`[polling]`, as the engine reads it."""
    polling = settings.polling
    return Pace(
        min_interval=polling.min_interval,
        max_interval=polling.max_interval,
        ceiling=polling.max_calls_per_second,
        blind_after=polling.blind_after,
        vanish_deadline=polling.vanish_deadline,
        discover_ended=polling.discover_ended,
    )


def cohort_of(settings: CohortSettings, named: Iterable[RunName]) -> Cohort:
    """A `[[cohort]]`, as the engine reads it, with the runs that it names."""
    return Cohort(
        settings.name,
        named=frozenset(named),
        described=settings.run_ids,
        groups=settings.run_group_ids,
        name_glob=settings.run_name,
        tags=tuple(settings.tags.items()),
        expected=settings.expected,
        quiet=settings.quiet,
    )


def terms_of(watches: Iterable[WatchSettings]) -> Terms:
    """What the `[[watch]]` tables of a scope call too long: the strictest of all; a deadline of 0 is none."""
    return strictest(
        Terms(
            {status: given for status in ACTIVE if (given := getattr(watch.deadline, status)) > timedelta(0)},
            watch.overdue_factor,
        )
        for watch in watches
    )


def diagnosis_of(settings: Settings) -> DiagnosisTerms:
    """`[diagnosis]`, as the engine reads it."""
    diagnosis = settings.diagnosis
    return DiagnosisTerms(diagnosis.enabled, diagnosis.log_lines, diagnosis.show_names)


def rules_of(watches: Iterable[WatchSettings]) -> tuple[Rule, ...]:
    """What the `[[watch]]` tables of a scope say, as the engine reads it: a rule for each."""
    return tuple(
        Rule(
            discover=watch.discover,
            groups=watch.run_group_ids,
            name_prefix=watch.name_prefix,
            emit_first=watch.emit_first,
            batches=watch.batch_ids,
            run_ids=frozenset(run_name(text).run_id for text in watch.run_ids),
            workflows=watch.workflow_ids,
            tags=frozenset(watch.tags.items()),
            min_interval=watch.min_interval,
            max_interval=watch.max_interval,
        )
        for watch in watches
    )
