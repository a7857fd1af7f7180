"""The daemon: Parts run in task groups, an order of stopping that reads like the promise, and a reload."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import structlog
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from poller.app.build import Parts, close_outlet, open_parts, rules_of, terms_of
from poller.app.http import serve_http
from poller.clock import SystemClock
from poller.core.drafts import poller_event
from poller.core.errors import PollerError, StoreUnavailable
from poller.core.event_data import PollerData
from poller.delivery.cohorts import Cohorts
from poller.polling.twins import whole_rules
from poller.ports.records import Round
from poller.settings.load import Loaded, load_settings
from poller.settings.model import Settings
from poller.settings.scopes import watches_anew
from poller.supervision import keep_running, start_running, start_side_by_side
from poller.version import __version__

log = structlog.get_logger("poller.daemon")

ANSWERS_SECONDS: Final = 2.0
"""How long answers in flight are awaited at a stop."""
PRUNE_EVERY: Final = 3600.0
RELOADABLE: Final = ("watch", "sinks")
Load = Callable[[Path], Loaded]


def holder_name() -> str:
    """What holds a record; its lock adds host and pid."""
    return f"omics-poller {__version__}"


async def run_daemon(
    loaded: Loaded,
    *,
    load: Load = load_settings,
    announce: Callable[[Parts, str | None], None] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT, then drain and return; SIGHUP reads the configuration again.

    Args: `load` reads it then; `announce` is called once everything runs, with the address of the HTTP server.
    Raises: ConfigError, StoreError.
    """
    stop = anyio.Event()
    _tell_doubts(loaded, SystemClock().now())
    async with (
        open_parts(loaded.settings, loaded.directory, holder=holder_name()) as parts,
        serve_http(parts, loaded.settings.http) as address,
    ):

        def ready() -> None:
            log.info(
                "daemon.started",
                version=__version__,
                instance=loaded.settings.daemon.instance,
                record=parts.foundation.store.location,
                scopes=[scope.name for scope in parts.scopes],
                sinks=[outlet.name for outlet in parts.dispatcher.outlets],
                http=address,
            )
            if announce is not None:
                announce(parts, address)

        async with anyio.create_task_group() as signals:
            await signals.start(_obey_signals, parts, loaded, load, stop)
            await run_parts(parts, stop, ready)
            signals.cancel_scope.cancel()
    log.info("daemon.stopped")


def _tell_doubts(loaded: Loaded, now: datetime) -> None:
    for doubt in loaded.doubts(now):
        log.warning("config.doubtful", path=str(loaded.path), warning=doubt)


async def run_parts(parts: Parts, stop: anyio.Event, ready: Callable[[], None] = lambda: None) -> None:
    """Run until `stop`; then end asking without losing an answer, and deliver what is due now, within the grace."""
    grace = parts.settings.daemon.shutdown_grace.total_seconds()
    foundation = parts.foundation
    async with anyio.create_task_group() as telling:
        await telling.start(start_running, "deliver", parts.dispatcher.run, foundation)
        async with anyio.create_task_group() as asking:
            await start_side_by_side(asking, parts.polling, foundation)
            asking.start_soon(keep_running, "tidy", partial(_keep_tidy, parts), foundation, name="tidy")
            asking.start_soon(keep_running, "heartbeat", partial(_beat, parts), foundation, name="heartbeat")
            cohorts = Cohorts(parts.cohorts, foundation)
            asking.start_soon(keep_running, "cohorts", cohorts.run, foundation, name="cohorts")
            ready()
            await stop.wait()
            log.info("daemon.stopping", grace_seconds=grace)
            with anyio.move_on_after(min(ANSWERS_SECONDS, grace / 2)):
                await parts.finish_looks()
            asking.cancel_scope.cancel()
        with anyio.move_on_after(grace / 2):
            await parts.dispatcher.drained()
        telling.cancel_scope.cancel()


async def _obey_signals(
    parts: Parts,
    loaded: Loaded,
    load: Load,
    stop: anyio.Event,
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Stop on SIGTERM and SIGINT, at once on a second one; read the configuration again on SIGHUP."""
    again, wanted = anyio.create_memory_object_stream[None](1)
    with (
        again,
        wanted,
        anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received,
    ):
        async with anyio.create_task_group() as reloading:  # apart: a reload may wait for the record, a stop may not
            reloading.start_soon(_keep_reloading, parts, loaded, load, wanted, name="reload")
            await _obey(received, again, stop, task_status)


async def _obey(
    received: AsyncIterator[signal.Signals],
    again: MemoryObjectSendStream[None],
    stop: anyio.Event,
    task_status: TaskStatus[None],
) -> None:
    task_status.started()
    async for number in received:
        if number == signal.SIGHUP:
            with suppress(anyio.WouldBlock):  # one is wanted already, and will read the file as it is then
                again.send_nowait(None)
        elif not stop.is_set():
            stop.set()
        else:
            log.warning("daemon.stopping", at_once=True)
            raise KeyboardInterrupt


async def _keep_reloading(parts: Parts, loaded: Loaded, load: Load, wanted: MemoryObjectReceiveStream[None]) -> None:
    """One reload after the other."""
    current = loaded.settings
    async for _ in wanted:
        current = await reload(parts, loaded.path, current, load=load)


async def reload(parts: Parts, path: Path, current: Settings, *, load: Load = load_settings) -> Settings:
    """Apply `[watch]` and `[[sinks]]` of the file as it is now, both or neither; say what else needs a restart."""
    try:
        loaded = load(path)
        new = loaded.settings
        with loaded.placing_sinks():
            outlets = parts.make_outlets(new.sinks)
    except PollerError as error:
        log.error("config.refused", path=str(path), error=str(error), then="the daemon goes on as it was")
        return current
    _tell_doubts(loaded, parts.foundation.clock.now())
    before = parts.dispatcher.outlets
    changed = [name for name in RELOADABLE if getattr(new, name) != getattr(current, name)]
    restart = [
        name
        for name in Settings.model_fields
        if name not in RELOADABLE and getattr(new, name) != getattr(current, name)
    ]
    await parts.dispatcher.exchange(outlets)
    for outlet in before:
        if outlet not in outlets:
            await close_outlet(outlet)
    _watch_anew(parts, new)
    log.info("config.reloaded", path=str(path), changed=changed, needs_restart=restart)
    return current.model_copy(update={name: getattr(new, name) for name in RELOADABLE})


def _watch_anew(parts: Parts, new: Settings) -> None:
    """Give each scope the watches that name it now; one whose watches are as they were is not disturbed.

    The scopes are those of the start: one that has no table any more goes on as it was until the restart that it needs.
    """
    for scope, watches in zip(parts.scopes, watches_anew(parts.settings, new), strict=True):
        if watches is not None and rules_of(watches) != scope.rules:
            scope.watch_anew(rules_of(watches))
        if watches is not None and terms_of(watches) != scope.terms:
            scope.use_terms(terms_of(watches))


async def _keep_tidy(parts: Parts) -> None:
    """Drop what retention allows to drop, once an hour."""
    while True:
        await parts.foundation.clock.sleep(PRUNE_EVERY)
        now = parts.foundation.clock.now()
        keep = {scope.name: whole_rules(scope).run_ids for scope in parts.scopes}
        cohorts = [cohort.key for cohort in parts.cohorts()]
        before = now - parts.settings.store.retention
        try:
            gone = await parts.foundation.store.prune(before=before, now=now, keep=keep, cohorts=cohorts)
        except StoreUnavailable as error:
            log.warning("retention.failed", error=str(error), then="tried again in an hour")
            continue
        if gone:
            log.info("retention.pruned", events=gone)


async def _beat(parts: Parts) -> None:
    """Tell the sinks that named it that we live."""
    every = parts.settings.daemon.heartbeat
    if every <= timedelta(0):
        return
    while True:
        await parts.foundation.clock.sleep(every.total_seconds())
        now = parts.foundation.clock.now()
        data = PollerData(
            instance=parts.settings.daemon.instance,
            subject=None,
            cause=None,
            detail=None,
            since=now,
            observed_at=now,
            last_success_at=max(
                (scope.sight.last_success_at for scope in parts.scopes if scope.sight.last_success_at is not None),
                default=None,
            ),
        )
        await parts.foundation.commit(Round(at=now, drafts=[poller_event("heartbeat", data)]))
