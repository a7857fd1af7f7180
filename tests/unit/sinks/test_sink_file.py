"""Files of JSON lines: durable before they are acknowledged, whole whatever happened before."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from poller.core.samples import sample_event
from poller.sinks.file import FileSettings, FileSink
from poller.sinks.toolbox import Tools

ONE, TWO, THREE = (sample_event("failed", run_id=str(number)) for number in (1, 2, 3))


@pytest.fixture
async def sink(tools: Tools) -> Any:
    sink = FileSink(FileSettings(name="log", type="file", path=Path("events.jsonl")), tools)
    yield sink
    await sink.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def test_a_new_file_is_its_owners_alone(sink: FileSink, path: Path) -> None:
    await sink.send([ONE])
    assert lines(path) == [ONE.body]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


async def test_what_was_there_stays_there(sink: FileSink, path: Path) -> None:
    write(path, b'{"old":1}\n')
    os.chmod(path, 0o640)
    await sink.send([ONE, TWO])
    assert lines(path) == [b'{"old":1}', ONE.body, TWO.body]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640


async def test_it_is_on_the_disk_before_it_is_acknowledged(
    sink: FileSink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, int]] = []

    def fsync(fd: int) -> None:
        status = os.fstat(fd)
        synced.append((stat.S_ISDIR(status.st_mode), 0 if stat.S_ISDIR(status.st_mode) else status.st_size))

    monkeypatch.setattr(os, "fsync", fsync)
    await sink.send([ONE])
    await sink.send([TWO])
    sizes = [len(ONE.body) + 1, len(ONE.body) + len(TWO.body) + 2]
    assert synced == [(True, 0), (False, sizes[0]), (False, sizes[1])], "the directory once, the file every time"


@pytest.mark.parametrize("again", [True, False])
async def test_rotation_by_renaming_is_noticed(sink: FileSink, path: Path, again: bool) -> None:
    """Whether the rotator makes the new file or leaves that to us."""
    await sink.send([ONE])
    os.rename(path, path.with_suffix(".1"))
    if again:
        write(path, b"")
    await sink.send([TWO])
    assert (lines(path.with_suffix(".1")), lines(path)) == ([ONE.body], [TWO.body])


async def test_rotation_by_truncation_leaves_no_hole(sink: FileSink, path: Path) -> None:
    await sink.send([ONE])
    os.truncate(path, 0)
    await sink.send([TWO])
    assert lines(path) == [TWO.body]


async def test_a_torn_line_is_ended_first(sink: FileSink, path: Path) -> None:
    write(path, ONE.body + b"\n" + TWO.body[:100])
    await sink.send([TWO])
    assert lines(path) == [ONE.body, TWO.body[:100], TWO.body]


async def test_a_disk_that_is_full_half_way_is_an_error_and_nothing_is_mixed_up(
    sink: FileSink, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sink.send([ONE])
    calls: list[int] = []
    write_some = os.write

    def nearly_full(fd: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return write_some(fd, bytes(data[:50]))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", nearly_full)
        with pytest.raises(OSError, match="No space left"):
            await sink.send([TWO])
    await sink.send([TWO])
    assert lines(path) == [ONE.body, TWO.body[:50], TWO.body]


async def test_short_writes_are_finished(sink: FileSink, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_some = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write_some(fd, bytes(data[:100])))
    await sink.send([ONE, TWO])
    assert lines(path) == [ONE.body, TWO.body]


async def test_it_goes_on_after_close(sink: FileSink, path: Path) -> None:
    await sink.send([ONE])
    await sink.close()
    await sink.send([TWO])
    assert lines(path) == [ONE.body, TWO.body]


async def test_what_is_no_file_is_refused(sink: FileSink, path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OSError, match="is not a regular file"):
        await sink.send([ONE])
    os.unlink(path)
    await sink.send([ONE])


async def test_a_directory_that_is_missing_is_an_error_until_it_is_there(tools: Tools, tmp_path: Path) -> None:
    sink = FileSink(FileSettings(name="log", type="file", path=Path("later/events.jsonl")), tools)
    with pytest.raises(FileNotFoundError):
        await sink.send([ONE])
    with pytest.raises(OSError, match="later is no directory"):
        await sink.probe()
    os.mkdir(tmp_path / "later")
    await sink.probe()
    await sink.send([ONE])
    await sink.probe()
    assert lines(tmp_path / "later" / "events.jsonl") == [ONE.body]
    await sink.close()


async def test_paths(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    def path_of(text: str) -> Path:
        settings = FileSettings.model_validate({"name": "log", "type": "file", "path": text})
        return FileSink(settings, tools).path

    assert path_of("a/b.jsonl") == tmp_path / "a" / "b.jsonl"
    assert path_of("/var/log/b.jsonl") == Path("/var/log/b.jsonl")
    assert path_of("~/b.jsonl") == Path("/home/somebody/b.jsonl")
    for nothing in ("", ".", "/"):
        with pytest.raises(ValidationError, match="expected the name of a file"):
            path_of(nothing)
