"""How each test of the suite comes to a store."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

from poller.ports.store import Store


class Opened(ABC):
    """What a subclass of the suite has to say."""

    @abstractmethod
    def open_store(self, record: str = "record") -> AbstractAsyncContextManager[Store]:
        """Open a store that is closed again on leaving; within one test the same name means the same record."""
