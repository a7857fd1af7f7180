"""HTTP servers that answer as a test says, and what STS answers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

NOT_YOU: Final = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"


@asynccontextmanager
async def answering(respond: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """The URL of a server that answers every request so; what is not answered by the end never is."""
    runner = web.ServerRunner(web.Server(respond), shutdown_timeout=0.01)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def key_of(request: web.BaseRequest) -> str:
    """The access key that a request was signed with."""
    return request.headers["Authorization"].split("Credential=")[1].split("/")[0]


def assumed(key: str = "ASIAROLE", lifetime: timedelta = timedelta(hours=1)) -> str:
    """The answer to AssumeRole; the credentials are good for so long from now on."""
    expiration = (datetime.now(UTC) + lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
        f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
        f"<Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )


def identity(account_id: str) -> str:
    """The answer to GetCallerIdentity."""
    return (
        f"<GetCallerIdentityResponse><GetCallerIdentityResult><Account>{account_id}</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
