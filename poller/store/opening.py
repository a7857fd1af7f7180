"""From the `url` of the configuration to the record that it means."""

from pathlib import Path

from poller.core.errors import ConfigError
from poller.ports.store import Store
from poller.store.engines import obstacle
from poller.store.store import SqliteStore


def open_store(url: str, *, directory: Path) -> Store:
    """The record of a URL, not yet opened.

    `sqlite:///poller.db` is relative to `directory`, `sqlite:////var/lib/poller.db` is absolute, and `sqlite://` or
    `sqlite:///:memory:` lives as long as the process.

    Raises: ConfigError for any other URL.
    """
    scheme, separator, rest = url.partition("://")
    if scheme != "sqlite" or not separator or (rest and not rest.startswith("/")) or "?" in rest:
        raise ConfigError(
            f"{url}: not a record; write sqlite:///relative/to/the/configuration.db, sqlite:////absolute/path.db or"
            " sqlite:// (in memory)"
        )
    return SqliteStore(None if in_memory(url) else directory / rest.removeprefix("/"))


def no_place(url: str, *, directory: Path) -> str | None:
    """Why the record of such a URL cannot be where it says, as far as a look shows; None if it can."""
    return None if in_memory(url) else obstacle(directory / url.partition("://")[2].removeprefix("/"))


def in_memory(url: str) -> bool:
    """Whether the record of a URL lives in the memory of the process that opens it, and no longer than that."""
    return url.partition("://")[2].removeprefix("/") in ("", ":memory:")
