"""Which record a URL means, what is made of it on disk, and what is refused."""

import stat
from pathlib import Path

import pytest

from poller.core.errors import ConfigError, StoreUnavailable
from poller.store.opening import no_place, open_store
from poller.store.store import SqliteStore
from poller.testing.stores.samples import AT, SCOPE, sample_draft, sample_run, tell


def modes(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


def contents(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.iterdir())


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("sqlite:///record.db", "/etc/poller/record.db"),
        ("sqlite:///data/re cord%.db", "/etc/poller/data/re cord%.db"),
        ("sqlite:////var/lib/record.db", "/var/lib/record.db"),
        ("sqlite://", "memory"),
        ("sqlite:///", "memory"),
        ("sqlite:///:memory:", "memory"),
    ],
)
def test_a_url_means_one_place(url: str, location: str) -> None:
    assert open_store(url, directory=Path("/etc/poller")).location == location


def test_where_no_record_can_be_is_seen_without_opening_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    said = no_place("sqlite:///nowhere/record.db", directory=tmp_path)
    assert said == f"{tmp_path}/nowhere/record.db cannot be made: there is no directory {tmp_path}/nowhere"
    assert no_place("sqlite:///data", directory=tmp_path) == f"{tmp_path}/data is a directory, and a record is a file"
    for fine in ("sqlite:///record.db", "sqlite:///data/record.db", f"sqlite:///{tmp_path}/data/x.db", "sqlite://"):
        assert no_place(fine, directory=tmp_path) is None
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "data"]


async def test_a_directory_is_no_record(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is a directory, and a record is a file"):
        await SqliteStore(tmp_path).open()


@pytest.mark.parametrize(
    "url", ["", "record.db", "sqlite:record.db", "sqlite://record.db", "mysql://x", "sqlite:///a?b=c"]
)
def test_any_other_url_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///relative"):
        open_store(url, directory=Path("/etc/poller"))


async def test_the_files_of_a_record_are_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "odd #name?%20.db"
    store = SqliteStore(path)
    await store.open()
    await store.hold("daemon")
    await tell(store, sample_draft())
    names = modes(tmp_path)
    await store.close()
    assert names == {path.name + suffix: 0o600 for suffix in ("", "-wal", "-shm", ".lock")}


async def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "not" / "there.db")
    with pytest.raises(StoreUnavailable, match=f"no directory {tmp_path}/not"):
        await store.open()
    (tmp_path / "not").mkdir()
    await store.open()
    await store.close()


async def test_a_relative_path_is_absolute_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore(Path("record.db"))
    assert store.location == str(tmp_path / "record.db")


async def test_using_a_record_that_is_not_open_is_a_mistake(tmp_path: Path) -> None:
    for store in (SqliteStore(tmp_path / "record.db"), SqliteStore(None)):
        with pytest.raises(RuntimeError, match="not open"):
            await store.watches()
        await store.open()
        await store.close()
        await store.close()
        with pytest.raises(RuntimeError, match="not open"):
            await store.watches()


async def test_what_was_forgotten_is_in_none_of_the_files(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "record.db")
    await store.open()
    drafts = [sample_draft("1", step) for step in range(50)]
    await tell(store, *drafts, runs=[sample_run("1")])
    assert b"P-1" in contents(tmp_path)
    await store.forget(SCOPE, "1", AT)
    assert b"P-1" not in contents(tmp_path)
    await store.close()
    assert b"P-1" not in contents(tmp_path)
