"""What the daemon says over HTTP: whether the process is up, and whether it can do its work.

`/healthz` and `/readyz` need no token and name no run. `Host` and `Origin` are checked all the same, so that no web
page can have a browser read them under a name of its own.
"""

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from poller.app.build import Parts
from poller.core.errors import ConfigError
from poller.core.events import stamp
from poller.core.runs import Json
from poller.polling.scope import Scope
from poller.settings.model import HttpSettings

log = structlog.get_logger("poller.http")
PARTS: web.AppKey[Parts] = web.AppKey("parts", Parts)


@asynccontextmanager
async def serve_http(parts: Parts, settings: HttpSettings) -> AsyncIterator[str | None]:
    """Serve while the context is open; gives the address in use, None where HTTP is off.

    Raises: ConfigError if the address cannot be had.
    """
    address = settings.address
    if address is None:
        yield None
        return
    app = web.Application(middlewares=[_from_here(address[0])])
    app[PARTS] = parts
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, *address)
        try:
            await site.start()
        except OSError as error:
            host, port = address
            raise ConfigError(f"[http] listen: {host}:{port} cannot be listened on: {error.strerror}") from error
        host, port = runner.addresses[0][:2]
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _from_here(listen_host: str) -> Middleware:
    """Refuse requests that were sent to a name that is not ours (DNS rebinding), or from another site's page."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            host = URL(f"http://{request.headers.get('Host', '')}").host or ""
        except ValueError:
            host = ""
        origin = request.headers.get("Origin")
        if not (host.lower() in ("localhost", listen_host.lower()) or _is_address(host)):
            raise web.HTTPForbidden(text="this Host is not served here; ask by address or as localhost\n")
        if origin is not None and origin != f"{request.scheme}://{request.headers['Host']}":
            raise web.HTTPForbidden(text="pages of another origin may not ask here\n")
        return await handler(request)

    return check


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _healthz(_: web.Request) -> web.Response:
    return web.json_response({"status": "up"})


async def _readyz(request: web.Request) -> web.Response:
    body = readiness(request.app[PARTS])
    return web.json_response(body, status=200 if body["ready"] else 503)


def readiness(parts: Parts) -> dict[str, Json]:
    """Whether the daemon can do its work: not while the record cannot be written, or every scope is blind."""
    now = parts.foundation.clock.now()
    scopes = [_scope(scope, now) for scope in parts.scopes]
    sinks = []
    for outlet in parts.dispatcher.outlets:
        worker = parts.dispatcher.workers.get(outlet.name)
        last = worker.judge.last_acknowledged_at if worker is not None else None
        paused_until = worker.paused_until if worker is not None and worker.paused else None
        sinks.append(
            {
                "name": outlet.name,
                "type": outlet.settings.type,
                "failing": worker is not None and worker.judge.breaker.failures > 0,
                "outage": worker is not None and worker.judge.breaker.open,
                "paused_until": stamp(paused_until) if paused_until is not None else None,
                "last_acknowledged_at": stamp(last) if last is not None else None,
            }
        )
    writable = parts.foundation.gate.closed_since is None
    return {
        "ready": writable and not all(scope["blind"] for scope in scopes),
        "instance": parts.settings.daemon.instance,
        "record": {"writable": writable, "reason": parts.foundation.gate.reason},
        "scopes": scopes,
        "sinks": sinks,
        "counts": parts.foundation.tally.snapshot(),
    }


def _scope(scope: Scope, now: datetime) -> dict[str, Json]:
    """How one scope is; one that rests with another, since both are one account and region, is as that one is."""
    sight, rounds = scope.sight, scope.acting.rounds
    last = sight.last_success_at
    return {
        "name": scope.name,
        "region": scope.place.region,
        "account_id": scope.account_id,
        "merged_into": scope.keeper.name if scope.keeper is not None else None,
        "blind": sight.blind,
        "cause": sight.cause if sight.blind else None,
        "last_success_at": stamp(last) if last is not None else None,
        "seconds_since_last_success": round((now - last).total_seconds(), 3) if last is not None else None,
        "watched_runs": len(rounds.runs) if rounds is not None else 0,
    }
