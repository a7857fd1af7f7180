"""A proxy in front of moto that fails every fifth request: before moto has it, after it, or in some of its entries."""

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import aiohttp
from aiohttp import web

Failure = Literal["refused", "throttled", "cut", "answer lost", "in part"]
FAILURES: Final[tuple[Failure, ...]] = ("refused", "throttled", "cut", "answer lost", "in part")
FAILS: Final = 0.2
HOP: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-encoding"})


class FailingAws:
    """Passes requests on to `target`. `asked` counts them, `failed` those that were not answered as moto would."""

    def __init__(self, target: str, chance: random.Random) -> None:
        self.target = target
        self.url = ""
        self.asked = 0
        self.failed: Counter[Failure] = Counter()
        self._chance = chance
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            try:
                yield
            finally:
                await runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked += 1
        if self._chance.random() >= FAILS:
            return await self._pass_on(request, body)
        failure = self._chance.choice(FAILURES)
        if failure == "in part" and not request.content_type.startswith("application/x-amz-json"):
            failure = "refused"  # SNS, which speaks in forms
        self.failed[failure] += 1
        match failure:
            case "refused":
                return web.Response(status=500, text="<html>Internal Server Error</html>")
            case "throttled":
                return web.json_response({"__type": "ThrottlingException", "message": "slow down"}, status=400)
            case "cut":
                return _cut(request)
            case "answer lost":
                await self._pass_on(request, body)
                return _cut(request)
            case "in part":
                return await self._in_part(request, body)

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        url = self.target + request.path_qs
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    async def _in_part(self, request: web.Request, body: bytes) -> web.Response:
        """The first entry fails, the others are passed on: as SQS says it, and as EventBridge does."""
        asked = json.loads(body)
        first, *others = asked["Entries"]
        said: dict[str, Any] = {"Entries": [], "Successful": []}
        if others:
            passed = await self._pass_on(request, json.dumps({**asked, "Entries": others}).encode())
            assert isinstance(passed.body, bytes)
            said = json.loads(passed.body)
        return web.json_response(_with_failure(said, first))


def _with_failure(said: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any]:
    if "Id" in entry:
        failed = {"Id": entry["Id"], "Code": "InternalError", "Message": "try again", "SenderFault": False}
        return {**said, "Failed": [*said.get("Failed", ()), failed]}
    failed = {"ErrorCode": "InternalFailure", "ErrorMessage": "try again"}
    return {**said, "Entries": [failed, *said.get("Entries", ())]}


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
