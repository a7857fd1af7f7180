"""Kills the daemon at one step of the path, and nothing in `poller/` knows of it.

`CRASH_AT` is "STEP MOMENT N": the process gets SIGKILL before, amid or after the N-th time that it takes the step.
`CRASH_TWIST` is "TWIST N": the order of the path is broken on purpose, and the kill hits between the steps once N
events are there, so that the tests can prove that they would notice.
"""

import asyncio
import contextlib
import functools
import importlib
import os
import signal
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

SECONDS_TO_TRAVEL: Final = 0.05
"""What is written to a socket arrives also if the writer dies; it must only have been written."""


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Step:
    """A function of the daemon, and which of its calls count. `amid` is a function that it calls inside."""

    def __init__(
        self, module: str, path: str, counts: Callable[..., bool] = lambda *_, **__: True, amid: "Step | None" = None
    ) -> None:
        self.module, self.path, self.counts, self.amid = module, path, counts, amid


def _draws(_: Any, round_: Any) -> bool:
    return bool(round_.drafts)


def _diagnoses(_: Any, round_: Any) -> bool:
    return bool(round_.diagnoses)


STEPS: Final = {
    "answer": Step("poller.healthomics.service", "HealthOmics.get_run"),
    "page": Step("poller.healthomics.service", "HealthOmics.list_runs"),
    "commit": Step(
        "poller.store.store",
        "SqliteStore.commit_round",
        _draws,
        amid=Step("poller.store.asking", "commit_round", lambda _, round_, routes: bool(round_.drafts)),
    ),
    "question": Step("poller.healthomics.service", "HealthOmics.list_failed_tasks"),
    "diagnosis": Step(
        "poller.store.store",
        "SqliteStore.commit_round",
        _diagnoses,
        amid=Step("poller.store.asking", "commit_round", lambda _, round_, routes: bool(round_.diagnoses)),
    ),
    "send": Step("poller.sinks.webhook", "WebhookSink.send"),
    "acknowledgement": Step(
        "aiohttp.client_reqrep", "ClientResponse.start", lambda response, _: response.url.path == "/hook"
    ),
    "mark": Step("poller.store.store", "SqliteStore.settle", amid=Step("poller.store.telling", "settle")),
}


class Killer:
    """Counts the calls that matter, and kills at the one it is for."""

    def __init__(self, moment: str, number: int) -> None:
        self.moment, self.number, self.calls = moment, number, 0

    def wrap(self, original: Callable[..., Any], step: Step, name: str) -> Callable[..., Any]:
        def reached() -> bool:
            self.calls += 1
            return self.calls == self.number

        if not asyncio.iscoroutinefunction(original):

            @functools.wraps(original)
            def amid(*arguments: Any, **more: Any) -> Any:
                result = original(*arguments, **more)
                if step.counts(*arguments, **more) and reached():
                    kill()
                return result

            return amid

        @functools.wraps(original)
        async def around(*arguments: Any, **more: Any) -> Any:
            counts = step.counts(*arguments)
            if counts and self.moment == "before" and reached():
                if name == "acknowledgement":
                    await asyncio.sleep(SECONDS_TO_TRAVEL)
                kill()
            result = await original(*arguments, **more)
            if counts and self.moment == "after" and reached():
                kill()
            return result

        return around


def swapped(module: ModuleType, number: int) -> None:
    """Send before commit: what a round would record is sent, then comes the kill, then the commit."""
    from poller.sinks.webhook import WebhookSink

    store, sinks, sent = module.SqliteStore, [], 0
    commit, made = store.commit_round, WebhookSink.__init__

    def making(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        sinks.append(self)

    async def commit_round(self: Any, round_: Any) -> Any:
        nonlocal sent
        for event in await dry_run(self, round_):
            await sinks[0].send([event])
            sent += 1
        if sent >= number > 0:
            kill()
        return await commit(self, round_)

    async def dry_run(self: Any, round_: Any) -> Any:
        found = []

        def transaction(connection: Any) -> None:
            found.extend(module.asking.commit_round(connection, round_, self._routes))
            raise Undone

        with contextlib.suppress(Undone):
            await self._database.write(transaction)
        return found

    class Undone(Exception):
        """Rolls the transaction back."""

    WebhookSink.__init__ = making  # type: ignore[assignment,method-assign]
    store.commit_round = commit_round


def marked_first(module: ModuleType, number: int) -> None:
    """Mark before send: what is claimed counts as acknowledged at once; then comes the kill, then the send."""
    from poller.core.deliveries import DeliveryState, Settlement

    store, marked = module.SqliteStore, 0
    claim = store.claim

    async def claim_and_mark(self: Any, sink: str, *, now: Any, limit: int) -> Any:
        nonlocal marked
        deliveries = await claim(self, sink, now=now, limit=limit)
        await self.settle([Settlement(one.id, DeliveryState.ACKNOWLEDGED, now) for one in deliveries])
        marked += len(deliveries)
        if marked >= number > 0:
            kill()
        return deliveries

    store.claim = claim_and_mark


TWISTS: Final = {"send before commit": swapped, "mark before send": marked_first}


def _kill_at(name: str, moment: str, number: int) -> None:
    step = STEPS[name]
    if moment == "amid":
        assert step.amid is not None, f"nothing is amid {name}"
        step = step.amid
    *owners, function = step.path.split(".")
    owner: Any = importlib.import_module(step.module)
    for one in owners:
        owner = getattr(owner, one)
    setattr(owner, function, Killer(moment, number).wrap(getattr(owner, function), step, name))


def prepare() -> None:
    """Patch this process as its environment says, before it begins."""
    if at := os.environ.get("CRASH_AT"):
        name, moment, number = at.split()
        _kill_at(name, moment, int(number))
    if twist := os.environ.get("CRASH_TWIST"):
        name, _, number = twist.rpartition(" ")
        TWISTS[name](importlib.import_module("poller.store.store"), int(number))
