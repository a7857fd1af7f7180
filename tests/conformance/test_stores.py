"""The promises of a record, over every engine that we have."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from poller.ports.store import Store
from poller.store.opening import open_store
from poller.testing.stores import DurableStoreConformance, StoreConformance


class TestSqliteFile(DurableStoreConformance):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    @asynccontextmanager
    async def open_store(self, record: str = "record") -> AsyncIterator[Store]:
        store = open_store(f"sqlite:///{record}.db", directory=self.directory)
        await store.open()
        try:
            yield store
        finally:
            await store.close()


class TestSqliteInMemory(StoreConformance):
    @asynccontextmanager
    async def open_store(self, record: str = "record") -> AsyncIterator[Store]:
        store = open_store("sqlite://", directory=Path("/nowhere"))
        await store.open()
        try:
            yield store
        finally:
            await store.close()
