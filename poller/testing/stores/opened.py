"""How each test of the suite comes to a store."""

from contextlib import AbstractAsyncContextManager

from poller.ports import Store


class Opened:
    """What a subclass of the suite has to say."""

    def open_store(self, record: str = "record") -> AbstractAsyncContextManager[Store]:
        """Open a store that is closed again on leaving; within one test the same name means the same record."""
        raise NotImplementedError
