"""What every record promises, as tests: subclass `StoreConformance`, say how yours is opened, and run it with pytest.

    class TestMyStore(DurableStoreConformance):
        @asynccontextmanager
        async def open_store(self, record: str = "record") -> AsyncIterator[Store]:
            ...

Needs pytest with pytest-asyncio in auto mode, and hypothesis. No test waits: all times are arguments.
"""

from poller.testing.stores.durable import DurableStoreConformance
from poller.testing.stores.suite import StoreConformance

__all__ = ["DurableStoreConformance", "StoreConformance"]
