"""The processes that a benchmark starts: each ends with the block that started it, whatever happens in it.

The service and the receiver of webhooks are processes of their own, so that what is measured is the poller's alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

STARTS_WITHIN: Final = 30.0
ENDS_WITHIN: Final = 5.0


@contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """A Python module that serves, and says where in its first line: `{"url": …}`. Gives the URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(arguments)}: ended with {process.wait()} and said nothing")
        yield str(json.loads(line)["url"])
    finally:
        end(process)


@contextmanager
def emulated(directory: Path, scenario: str = "") -> Iterator[str]:
    """The HealthOmics emulator in its own process; this process's environment leads to it. Gives its URL."""
    path = directory / f"scenario-{os.getpid()}.toml"
    path.write_text(scenario)
    with serving("poller", "emulator", str(path)) as url:
        os.environ.update(
            AWS_ENDPOINT_URL_OMICS=url,
            AWS_ENDPOINT_URL_STS=url,
            AWS_DISABLE_HOST_PREFIX_INJECTION="true",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="emulated",
            AWS_SECRET_ACCESS_KEY="emulated",  # noqa: S106 - any word does
        )
        yield url


def start(*arguments: str) -> "subprocess.Popen[str]":
    """A module of these benchmarks that measures, and prints its figures as JSON."""
    return subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True)


def figures(process: "subprocess.Popen[str]", within: float) -> Any:
    """What it printed, once it has ended. Raises: RuntimeError if it failed, TimeoutExpired if it takes too long."""
    try:
        output, _ = process.communicate(timeout=within)
    finally:
        end(process)
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
    return json.loads(output)


def end(process: "subprocess.Popen[str]") -> None:
    """End a process, gently first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(url: str, body: Mapping[str, Any] | None = None) -> Any:
    """A request to the emulator's own interface: GET, or POST where there is a body."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data=data), timeout=ENDS_WITHIN) as answer:  # noqa: S310 - a URL of our own emulator
        return json.load(answer)
