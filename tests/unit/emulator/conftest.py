"""A clock that tests turn by hand, and clients that talk to an emulator in the same loop."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from poller.emulator import Emulator

BEGIN = datetime(2026, 11, 23, 7, 0, 0, 262471, tzinfo=UTC)
SESSION = get_session()  # one, since reading the service model is most of the cost of a client

Omics = Callable[..., AbstractAsyncContextManager[Any]]

REQUIRED: dict[str, Any] = {
    "workflowId": "4074992",
    "roleArn": "arn:aws:iam::123456789012:role/OmicsRole",
    "outputUri": "s3://out/runs",
}
"""What a run that is started must be told."""


class HandClock:
    """Time passes only when a test says so."""

    def __init__(self) -> None:
        self.moment = BEGIN

    def __call__(self) -> datetime:
        return self.moment

    def pass_by(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


async def refusal(asked: Awaitable[Any]) -> tuple[str, int]:
    """The error's code and HTTP status."""
    with pytest.raises(ClientError) as caught:
        await asked
    return caught.value.response["Error"]["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]


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
