"""A clock that tests turn by hand, and clients that talk to an emulator in the same loop."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from poller.emulator import Emulator

BEGIN = datetime(2026, 11, 23, 7, 0, 0, 262471, tzinfo=UTC)
SESSION = get_session()  # one, since reading the service model is most of the cost of a client

Omics = Callable[[Emulator], AbstractAsyncContextManager[Any]]


class HandClock:
    """Time passes only when a test says so."""

    def __init__(self) -> None:
        self.moment = BEGIN

    def __call__(self) -> datetime:
        return self.moment

    def pass_by(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def omics() -> Omics:
    """`async with omics(emulator) as client`: aiobotocore without retries of its own."""

    @asynccontextmanager
    async def client(emulator: Emulator, **settings: Any) -> AsyncIterator[Any]:
        config = AioConfig(inject_host_prefix=False, retries={"total_max_attempts": 1}, **settings)
        async with SESSION.create_client(
            "omics",
            region_name="us-east-1",
            endpoint_url=emulator.url,
            aws_access_key_id="emulated",
            aws_secret_access_key="emulated",
            config=config,
        ) as made:
            yield made

    return client
