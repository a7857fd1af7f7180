"""Standard output: whole lines, whoever reads, however slowly."""

import asyncio
import io
import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from poller.core.samples import sample_event
from poller.sinks import stdout as module
from poller.sinks.stdout import StdoutSettings, StdoutSink

ONE, TWO = (sample_event("failed", run_id=str(number), name="x" * 100_000) for number in (1, 2))
SMALL = sample_event("failed")


@pytest.fixture
def sink() -> StdoutSink:
    return StdoutSink(StdoutSettings(name="out", type="stdout"), tools=SimpleNamespace())


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The reading end of a pipe that is standard output to the sink."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=stream))
        yield reading
    os.close(reading)


async def read_until(fd: int, task: "asyncio.Future[Any]") -> bytes:
    got = b""
    while True:
        done = task.done()
        try:
            got += os.read(fd, 65536)
        except BlockingIOError:
            if done:
                break
            await asyncio.sleep(0)
    await task
    return got


async def test_a_line_for_each_event(sink: StdoutSink, capfd: pytest.CaptureFixture[str]) -> None:
    await sink.send([SMALL, sample_event("blind")])
    assert capfd.readouterr().out == f"{SMALL.to_json()}\n{sample_event('blind').to_json()}\n"


async def test_lines_longer_than_a_pipe_holds_arrive_whole(sink: StdoutSink, reading: int) -> None:
    got = await read_until(reading, asyncio.ensure_future(sink.send([ONE, TWO])))
    assert got == ONE.body + b"\n" + TWO.body + b"\n"


async def test_a_line_that_a_timeout_cut_is_ended_before_the_next(sink: StdoutSink, reading: int) -> None:
    """Nobody reads, the send is cancelled in the middle of its line, then somebody reads again."""
    cut = asyncio.ensure_future(sink.send([ONE, TWO]))
    await asyncio.wait([cut], timeout=0.05)
    assert not cut.done(), "the pipe holds less than this line"
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    got = await read_until(reading, asyncio.ensure_future(sink.send([SMALL])))
    assert got == ONE.body + b"\n" + SMALL.body + b"\n"


async def test_two_sinks_do_not_mix_their_lines(sink: StdoutSink, reading: int) -> None:
    other = StdoutSink(sink.settings, tools=SimpleNamespace())
    got = await read_until(reading, asyncio.gather(sink.send([ONE]), other.send([TWO])))
    assert sorted(got.splitlines()) == sorted([ONE.body, TWO.body])


async def test_a_reader_that_is_gone_is_an_error(sink: StdoutSink, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=stream))
        with pytest.raises(BrokenPipeError):
            await sink.send([SMALL])


async def test_standard_output_may_be_a_file_or_nothing(
    sink: StdoutSink, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (tmp_path / "out", "/dev/null"):
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT), "w") as stream:
            monkeypatch.setattr(module, "sys", SimpleNamespace(stdout=stream))
            await sink.send([SMALL])
    assert (tmp_path / "out").read_bytes() == SMALL.body + b"\n"


async def test_a_program_may_have_replaced_standard_output(sink: StdoutSink, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced = io.StringIO()
    monkeypatch.setattr(sys, "stdout", replaced)
    await sink.send([SMALL])
    assert replaced.getvalue() == SMALL.to_json() + "\n"


async def test_what_the_program_printed_before_comes_before(sink: StdoutSink, reading: int) -> None:
    vars(module)["sys"].stdout.write("before\n")
    got = await read_until(reading, asyncio.ensure_future(sink.send([SMALL])))
    assert got == b"before\n" + SMALL.body + b"\n"
