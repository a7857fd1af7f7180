"""What tests of several parts share."""

from collections.abc import AsyncIterator

import pytest

from poller.aws import AwsSessions
from poller.emulator import Emulator
from tests.unit.healthomics.logs_rig import Logs


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """An account without runs, in the same loop."""
    async with Emulator() as running:
        yield running


@pytest.fixture
async def logs(moto_url: str) -> AsyncIterator[Logs]:
    """The log group of the workflows, empty before and after."""
    sessions = AwsSessions()
    there = await Logs.at(sessions, moto_url)
    await there.make_group()
    yield there
    await there.drop_group()
    await sessions.close()
