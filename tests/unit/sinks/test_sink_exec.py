"""Commands: what they get, what their end means, and that nothing of them stays. Delivery: tests/conformance."""

import json
import os
import signal
import stat
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.core.samples import SAMPLE_TYPES, sample_event
from poller.sinks import exec as module
from poller.sinks.exec import ExecSettings, ExecSink, variables_of
from poller.sinks.toolbox import Tools
from tests.unit.sinks.failing import EVENT, failure
from tests.waiting import becomes

PATIENCE = 20.0


def sink_of(tools: Tools, *command: str, **keys: Any) -> ExecSink:
    table = {"name": "hook", "type": "exec", "command": command, **keys}
    return ExecSink(ExecSettings.model_validate(table), tools)


def python(tools: Tools, code: str, **keys: Any) -> ExecSink:
    """A sink whose command is a piece of Python, run in the directory of the configuration."""
    return sink_of(tools, sys.executable, "-c", code, **keys)


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


async def until_there(path: Path) -> str:
    """Wait for a file that a command writes, and read it."""
    await becomes(lambda: path.is_file() and path.read_text(), patience_seconds=PATIENCE)
    return await anyio.Path(path).read_text()


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and at which its parent has not looked yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until_gone(pid: int) -> None:
    await becomes(lambda: not runs(pid), patience_seconds=PATIENCE)


def children() -> set[int]:
    """Our child processes, zombies too; read again where a thread ended meanwhile, which leaves its to another."""
    while True:
        with suppress(FileNotFoundError, ProcessLookupError):
            tasks = Path("/proc/self/task").iterdir()
            return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


async def test_a_command_gets_the_bytes_the_fields_and_the_directory_of_the_configuration(
    tools: Tools, tmp_path: Path
) -> None:
    code = """
import json, os, sys
body = sys.stdin.read()
ours = {name: value for name, value in os.environ.items() if name.startswith("OMICS_")}
json.dump([body, os.getcwd(), ours], open("got.json", "w"))
"""
    event = Event(sample_event("failed", name="a b\n$HOME\0é", batch_id="7").body, replay="r-1")
    await python(tools, code).send([event])
    body, directory, ours = read(tmp_path / "got.json")
    assert body == event.to_json()
    assert directory == str(tmp_path)
    assert ours == {
        "OMICS_EVENT_ID": event.id,
        "OMICS_EVENT_TYPE": "healthomics.run.failed",
        "OMICS_EVENT_TIME": "2026-11-23T08:15:00Z",
        "OMICS_SUBJECT": "1234567",
        "OMICS_SEQUENCE": "0000000004",
        "OMICS_REPLAY_ID": "r-1",
        "OMICS_RUN_ID": "1234567",
        "OMICS_RUN_ARN": "arn:aws:omics:us-east-1:123456789012:run/1234567",
        "OMICS_RUN_UUID": event.data["run_uuid"],
        "OMICS_RUN_NAME": "a b\n$HOMEé",
        "OMICS_STATUS": "FAILED",
        "OMICS_PREVIOUS_STATUS": "RUNNING",
        "OMICS_FAILURE_REASON": "RUN_TASK_FAILED",
        "OMICS_WORKFLOW_ID": "7654321",
        "OMICS_RUN_GROUP_ID": "2345678",
        "OMICS_BATCH_ID": "7",
        "OMICS_RUN_OUTPUT_URI": "s3://example-results/runs/1234567",
        "OMICS_REGION": "us-east-1",
        "OMICS_ACCOUNT_ID": "123456789012",
    }


@pytest.mark.parametrize("kind", SAMPLE_TYPES)
def test_what_is_not_known_or_left_out_is_not_there(kind: str) -> None:
    variables = variables_of(sample_event(kind).without(["name"]))
    assert {"OMICS_EVENT_ID", "OMICS_EVENT_TYPE", "OMICS_SUBJECT"} <= variables.keys()
    assert not {"OMICS_RUN_NAME", "OMICS_REPLAY_ID"} & variables.keys()
    assert "None" not in variables.values()


async def test_credentials_of_the_daemon_stay_with_it(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "LIMS_TOKEN", "HTTPS_PROXY", "OMICS_POLLER_CONFIG"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    code = "import json, os; json.dump(dict(os.environ), open('env.json', 'w'))"
    await python(tools, code, environment={"AWS_PROFILE": "hooks", "MODE": "quiet"}).send([EVENT])
    got = read(tmp_path / "env.json")
    assert "secret" not in got.values()
    assert (got["AWS_PROFILE"], got["MODE"], got["LC_ALL"]) == ("hooks", "quiet", "C.UTF-8")
    assert got["PATH"] == os.environ["PATH"]


async def test_no_shell_reads_the_command(tools: Tools, tmp_path: Path) -> None:
    code = "import json, sys; json.dump(sys.argv[1:], open('argv.json', 'w'))"
    arguments = ["$HOME", "*", "; rm -rf /", "`id`", "a b", ""]
    await sink_of(tools, sys.executable, "-c", code, *arguments).send([EVENT])
    assert read(tmp_path / "argv.json") == arguments


@pytest.mark.parametrize("code", [1, 2, 64, 66, 75, 127, 255])
async def test_codes_that_mean_later(code: int, tools: Tools) -> None:
    error = await failure(python(tools, f"import sys; sys.exit({code})"))
    assert isinstance(error, Retry)
    assert str(error) == f"{os.path.basename(sys.executable)} ended with {code}"


async def test_the_code_that_means_never(tools: Tools) -> None:
    error = await failure(python(tools, "import sys; print('no such sample', file=sys.stderr); sys.exit(65)"))
    assert isinstance(error, Rejected)
    assert error.reason.endswith("ended with 65: no such sample")


async def test_a_command_that_is_killed_is_tried_again(tools: Tools) -> None:
    error = await failure(python(tools, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    assert isinstance(error, Retry)
    assert str(error).endswith("was ended by SIGSEGV")


async def test_the_end_of_what_it_said_is_the_error_however_much_it_was(tools: Tools) -> None:
    code = "import sys; sys.stderr.write('noise ' * 200_000 + '\\n\\x1b[1mlast words\\n'); sys.exit(1)"
    error = await failure(python(tools, code))
    assert str(error).endswith("noise [1mlast words")
    assert len(str(error)) < 400


async def test_no_error_shows_a_secret_of_the_environment(tools: Tools) -> None:
    code = """
import os, sys
secret = os.environ["TOKEN"]
print("x" * 5000 + secret, " " * 4000, secret, "denied", file=sys.stderr)
sys.exit(1)
"""
    secret = "s3cr3t-" * 8
    error = await failure(python(tools, code, environment={"TOKEN": secret}))
    assert "denied" in str(error)
    assert "s3cr" not in str(error)


@pytest.mark.parametrize("shift", range(-3, 4))
async def test_a_cut_through_a_secret_shows_no_rest_of_it(shift: int, tools: Tools) -> None:
    """Wherever the end of what is kept begins: before, in, or behind the secret; and though it holds a space."""
    secret = "Bearer s3cr3t-s3cr3t"
    beside = module.STDERR_BYTES - len("denied") - len(secret) // 2 + shift * len(secret) // 3
    code = (
        f"import os, sys; sys.stderr.write('x' * 9999 + os.environ['TOKEN'] + ' ' * {beside} + 'denied'); sys.exit(1)"
    )
    error = await failure(python(tools, code, environment={"TOKEN": secret}))
    assert "denied" in str(error)
    assert "3cr" not in str(error)


async def test_a_command_that_does_not_read_is_judged_by_its_code(tools: Tools) -> None:
    event = sample_event("failed", status_message="x" * 500_000)
    await python(tools, "pass").send([event])
    assert isinstance(await failure(python(tools, "import sys; sys.exit(65)"), event), Rejected)


async def test_a_large_event_arrives_whole(tools: Tools, tmp_path: Path) -> None:
    event = sample_event("failed", status_message="é" * 500_000)
    await python(tools, "import sys; open('got', 'wb').write(sys.stdin.buffer.read())").send([event])
    assert await anyio.Path(tmp_path / "got").read_bytes() == event.body


LEAVES_A_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("child", "w").write(str(child.pid))
"""


async def test_what_a_command_leaves_running_is_not_waited_for_nor_ended(tools: Tools, tmp_path: Path) -> None:
    """Though it holds the pipes of the command, and the event was too large to be read whole."""
    with anyio.fail_after(PATIENCE):
        await python(tools, LEAVES_A_CHILD).send([sample_event("failed", status_message="x" * 500_000)])
    child = int(await until_there(tmp_path / "child"))
    assert runs(child)
    os.kill(child, signal.SIGKILL)
    await until_gone(child)


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
HANGS_WITH_A_DEAF_CHILD = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "{DEAF}; print(flush=True); time.sleep(600)"], stdout=subprocess.PIPE)
child.stdout.readline()
open("pids", "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""


@pytest.mark.parametrize("before", [DEAF, ""], ids=["deaf", "listening"])
async def test_a_time_limit_ends_the_command_and_all_that_it_started(
    before: str, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM first; what does not listen to it, the command or its child, is killed after a moment."""
    monkeypatch.setattr(module, "TERM_SECONDS", 0.2)
    ours = children()
    async with anyio.create_task_group() as sending:
        sending.start_soon(python(tools, before + HANGS_WITH_A_DEAF_CHILD).send, [EVENT])
        command, child = map(int, (await until_there(tmp_path / "pids")).split())
        assert command in children()
        sending.cancel_scope.cancel()
    assert children() <= ours, "no zombie"
    await until_gone(child)


async def test_a_send_that_is_cancelled_while_its_command_starts_leaves_none(tools: Tools) -> None:
    """Whenever in the milliseconds that a start takes the cancellation comes."""
    ours = children()
    sink = sink_of(tools, "sleep", "600")
    for step in range(40):
        with anyio.move_on_after(step * 0.0005) as limit:
            await sink.send([EVENT])
        assert limit.cancelled_caught
        assert children() <= ours


async def test_a_command_that_listens_may_end_in_order(tools: Tools, tmp_path: Path) -> None:
    code = """
import signal, sys, time
def end(*_):
    open("ended", "w").write("in order")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open("ready", "w").write("yes")
time.sleep(600)
"""
    async with anyio.create_task_group() as sending:
        sending.start_soon(python(tools, code).send, [EVENT])
        await until_there(tmp_path / "ready")
        sending.cancel_scope.cancel()
    assert await anyio.Path(tmp_path / "ended").read_text() == "in order"


async def test_nothing_is_left_open(tools: Tools) -> None:
    commands = [python(tools, "pass"), python(tools, "import sys; sys.exit(1)"), sink_of(tools, "./no-such-program")]

    async def send_thrice() -> int:
        for sink in commands * 3:
            with suppress(Retry, FileNotFoundError):
                await sink.send([EVENT])
        return len(os.listdir("/proc/self/fd"))

    assert await send_thrice() == await send_thrice()


async def test_a_program_beside_the_configuration_is_found(tools: Tools, tmp_path: Path) -> None:
    sink = sink_of(tools, "./hook.sh")
    with pytest.raises(FileNotFoundError, match=r"\./hook\.sh is no program that can be started"):
        await sink.probe()
    write(tmp_path / "hook.sh", "#!/bin/sh\ncat > got\n")
    with pytest.raises(FileNotFoundError):
        await sink.probe()
    write(tmp_path / "hook.sh", "#!/bin/sh\ncat > got\n", stat.S_IRWXU)
    assert await sink.probe() is None
    await sink.send([EVENT])
    assert await anyio.Path(tmp_path / "got").read_bytes() == EVENT.body


async def test_a_probe_looks_where_the_command_is_looked_for(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    write(tmp_path / "hook", "#!/bin/sh\nexit 0\n", stat.S_IRWXU)
    with pytest.raises(FileNotFoundError):
        await sink_of(tools, "hook").probe()
    sink = sink_of(tools, "hook", environment={"PATH": str(tmp_path)})
    await sink.probe()
    await sink.send([EVENT])


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"command": []}, "at least 1 item"),
        ({"command": [""]}, "expected a program and its arguments"),
        ({"command": ["a", "b\0c"]}, "expected a program and its arguments"),
        ({"command": "notify.sh --quiet"}, "valid tuple"),
        ({"command": ["a"], "environment": {"A B": "x"}}, "letters, digits and underscores"),
        ({"command": ["a"], "environment": {"OMICS_STATUS": "x"}}, "set by the sink itself"),
        ({"command": ["a"], "environment": {"A": "x\0"}}, "zero byte"),
    ],
)
def test_settings_that_are_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ExecSettings.model_validate({"name": "hook", "type": "exec", **keys})


def test_a_command_that_is_not_there_is_warned_of(tmp_path: Path) -> None:
    def said(*command: str) -> list[str]:
        settings = ExecSettings.model_validate({"name": "hook", "type": "exec", "command": command})
        return list(settings.warnings(tmp_path, datetime.now(UTC)))

    (tmp_path / "hook.sh").touch(mode=0o700)
    (tmp_path / "data.txt").touch(mode=0o600)
    assert said("./hook.sh") == said("sh") == []
    for program in ("./missing.sh", "./data.txt", ".", "no-such-program"):
        assert said(program) == [f"command: {program} is no program that can be started"]


def test_messages_and_tags_are_left_out_unless_somebody_asks() -> None:
    table = {"name": "hook", "type": "exec", "command": ["./hook.sh"]}
    assert ExecSettings.model_validate(table).omit == ("status_message", "tags")
    assert ExecSettings.model_validate({**table, "omit": []}).omit == ()
