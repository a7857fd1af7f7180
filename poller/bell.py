"""What wakes those who wait for something new in the record, within one process."""

import anyio


class Bell:
    """Rung after each commit. Who waits reads the record then: the bell says that something is new, not what."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        event, self._event = self._event, anyio.Event()
        event.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for the next ring, at most `seconds`."""
        event = self._event
        with anyio.move_on_after(seconds):
            await event.wait()

    def listen(self) -> anyio.Event:
        """The next ring, for who must look at the record between taking this and waiting for it."""
        return self._event
