"""What the daemon says of itself over HTTP."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from poller.app.build import Parts
from poller.app.http import readiness, serve_http
from poller.core.errors import ConfigError, StoreUnavailable
from poller.emulator import Emulator, Fault, Life
from poller.settings.model import HttpSettings
from tests.unit.app.daemon_rig import Stage, file_sink
from tests.unit.app.library_rig import until

pytestmark = pytest.mark.usefixtures("aws_credentials")


@pytest.fixture
def stage(emulator: Emulator, tmp_path: Path) -> Stage:
    return Stage(emulator, tmp_path, listen="127.0.0.1:0")


async def get(parts: Parts, path: str) -> tuple[int, Any, str]:
    async with serve_http(parts, parts.settings.http) as url, aiohttp.ClientSession() as session:
        assert url is not None
        async with session.get(f"{url}{path}") as answer:
            return answer.status, await answer.json(), await answer.text()


async def test_the_process_is_up_even_if_nothing_runs(stage: Stage) -> None:
    stage.configure()
    async with stage.parts() as parts:
        assert (await get(parts, "/healthz"))[:2] == (200, {"status": "up"})


async def test_a_daemon_that_sees_and_writes_is_ready_and_names_scopes_and_sinks_but_no_run(stage: Stage) -> None:
    secret = "sample-of-ana"
    run_id = stage.emulator.start_run(Life.of("RUNNING"), name=secret)
    stage.configure(file_sink("one"), watch=f'run_ids = ["{run_id}"]')
    async with stage.running() as parts:
        await until(lambda: stage.sent("one.jsonl"))
        await until(lambda: readiness(parts)["sinks"][0]["last_acknowledged_at"])
        status, body, text = await get(parts, "/readyz")
        health = await get(parts, "/healthz")
    assert (status, body["ready"], body["record"]["writable"]) == (200, True, True)
    (scope,) = body["scopes"]
    assert (scope["name"], scope["region"], scope["blind"], scope["watched_runs"]) == ("us-east-1",) * 2 + (False, 1)
    assert scope["seconds_since_last_success"] < 15
    (sink,) = body["sinks"]
    assert (sink["name"], sink["type"], sink["failing"], sink["outage"]) == ("one", "file", False, False)
    for said in (text, health[2]):
        assert run_id not in said
        assert secret not in said


async def test_a_record_that_cannot_be_written_is_not_ready_and_says_why(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.configure(file_sink("one"))
    async with stage.running() as parts:
        claim = parts.foundation.store.claim

        async def locked(*_: object, **__: object) -> list[Any]:
            raise StoreUnavailable("record.db: the disk is full")

        monkeypatch.setattr(parts.foundation.store, "claim", locked)
        await until(lambda: parts.foundation.gate.closed_since)
        status, body, _ = await get(parts, "/readyz")
        assert (status, body["ready"]) == (503, False)
        assert body["record"] == {"writable": False, "reason": "record.db: the disk is full"}
        monkeypatch.setattr(parts.foundation.store, "claim", claim)
        await until(lambda: not parts.foundation.gate.closed_since)
        assert (await get(parts, "/readyz"))[0] == 200


async def test_a_daemon_that_is_blind_everywhere_is_not_ready_and_says_why(stage: Stage) -> None:
    stage.emulator.add_fault(Fault(kind="error", code="ExpiredTokenException"))
    stage.configure(watch='run_ids = ["1"]')
    async with stage.running() as parts:
        await until(lambda: readiness(parts)["scopes"][0]["blind"])
        status, body, _ = await get(parts, "/readyz")
        assert (status, body["ready"], body["scopes"][0]["cause"]) == (503, False, "credentials")
        stage.emulator.clear_faults()
        await until(lambda: readiness(parts)["ready"])
        assert (await get(parts, "/readyz"))[0] == 200


async def test_one_scope_that_sees_is_enough(stage: Stage) -> None:
    stage.emulator.add_fault(Fault(kind="error", code="ExpiredTokenException"))
    stage.configure(watch='run_ids = ["1"]')
    async with stage.running() as parts:
        await until(lambda: readiness(parts)["scopes"][0]["blind"])
        async with stage_beside(stage) as other:
            parts.scopes.append(other.scopes[0])
            assert readiness(parts)["ready"]
            parts.scopes.pop()


def stage_beside(stage: Stage) -> Any:
    directory = stage.directory / "other"
    directory.mkdir()
    other = Stage(stage.emulator, directory)
    other.configure()
    return other.parts()


async def test_a_second_server_on_the_port_is_refused_with_the_address_and_the_reason(stage: Stage) -> None:
    stage.configure()
    async with stage.parts() as parts, serve_http(parts, parts.settings.http) as url:
        assert url is not None
        address = url.removeprefix("http://")
        with pytest.raises(ConfigError, match=rf"\[http\] listen: {address} cannot be listened on: .*in use"):
            async with serve_http(parts, HttpSettings(listen=address)):
                pass
        async with serve_http(parts, HttpSettings(listen="127.0.0.1:0")) as another:
            assert another not in (None, url)


async def test_no_address_is_no_server(stage: Stage) -> None:
    stage.configure()
    async with stage.parts() as parts, serve_http(parts, HttpSettings(listen="")) as url:
        assert url is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:8780"}, 200),
        ({"Host": "[::1]:8780"}, 200),
    ],
)
async def test_a_page_of_another_site_reads_nothing(stage: Stage, headers: dict[str, str], status: int) -> None:
    stage.configure()
    async with (
        stage.parts() as parts,
        serve_http(parts, parts.settings.http) as url,
        aiohttp.ClientSession() as session,
        session.get(f"{url}/readyz", headers=headers) as answer,
    ):
        assert answer.status == status
