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
    return SqliteStore(_path(url, directory))


def no_place(url: str, *, directory: Path) -> str | None:
    """Why the record of such a URL cannot be where it says, as far as a look shows; None if it can."""
    path = _path(url, directory)
    return None if path is None else obstacle(path)


def in_memory(url: str) -> bool:
    """Whether the record of a URL lives in the memory of the process that opens it, and no longer than that."""
    return _place(url) in ("", ":memory:")


def _path(url: str, directory: Path) -> Path | None:
    """The file of a record; None of one in memory."""
    return None if in_memory(url) else directory / _place(url)


def _place(url: str) -> str:
    """What a URL says behind `sqlite:///`."""
    return url.partition("://")[2].removeprefix("/")
