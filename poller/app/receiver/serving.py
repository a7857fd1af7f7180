"""A receiver behind a port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from poller.app.receiver.receiving import LARGEST, Receiver

STOP_SECONDS: Final = 1.0
"""How long answers under way are waited for at the end."""


@asynccontextmanager
async def listening(
    receiver: Receiver, host: str = "127.0.0.1", port: int = 0, *, patience: float = STOP_SECONDS
) -> AsyncIterator[str]:
    """Serve it, at every path, while the context is open; gives its address, without a path. Port 0: any free one.

    Args: `patience` is for how many seconds answers under way are waited for at the end.
    Raises: OSError if that cannot be listened on.
    """
    application = web.Application(client_max_size=LARGEST)
    application.router.add_route("*", "/{path:.*}", receiver.answer)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=patience)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
