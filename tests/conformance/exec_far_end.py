"""A command of an operator's: a script that keeps each event in a file of its own, and ends as it is told to."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from poller.testing.rigs import Answer, Rig, opened_toolbox
from tests.conformance.far_ends import made

EXEC_TOKEN = "tok-exec-77c0ffee"
SCRIPT = """\
#!/bin/sh
case $(cat answer) in
    taken) cat > "coming.$$" && mv "coming.$$" "taken/$(date +%s%N).$$" ;;
    down) env >&2; exit 75 ;;
    poison) echo "no such sample; $TOKEN" >&2; exit 65 ;;
    hang) echo > reached; exec sleep 600 ;;
    reset) kill -KILL $$ ;;
esac
"""


class CommandFarEnd:
    """What the script has taken, in order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "taken").mkdir()
        os.mkfifo(directory / "reached")
        script = directory / "hook.sh"
        script.write_text(SCRIPT)
        script.chmod(0o700)
        self.answers("taken")

    async def received(self) -> Sequence[bytes]:
        names = sorted(os.listdir(self.directory / "taken"))
        return [await anyio.Path(self.directory / "taken" / name).read_bytes() for name in names]

    def answers(self, answer: Answer) -> None:
        (self.directory / "answer").write_text(answer)

    async def reached(self) -> None:
        pipe = os.open(self.directory / "reached", os.O_RDONLY | os.O_NONBLOCK)
        try:
            await anyio.wait_readable(pipe)
        finally:
            os.close(pipe)


@asynccontextmanager
async def exec_rig(kind: type[Any], directory: Path) -> AsyncIterator[Rig]:
    far_end = CommandFarEnd(directory)
    async with opened_toolbox(directory) as tools:
        table = {"name": "hook", "type": "exec", "command": ["./hook.sh"], "environment": {"TOKEN": EXEC_TOKEN}}
        lacks: dict[Answer, str] = {"busy": "an exit code says that it is to be later, and not when"}
        yield Rig(made(kind, table, tools), far_end, table, (EXEC_TOKEN,), lacks)
