"""What sinks share: one HTTP session, with the proxies of the environment and nothing else of it."""

from base64 import b64encode
from pathlib import Path

import pytest
from aiohttp import web

from poller import aws
from poller.aws import AwsSessions
from poller.sinks import toolbox
from poller.sinks.toolbox import Tools


async def proxy(requests: list[web.BaseRequest]) -> web.ServerRunner:
    async def handle(request: web.BaseRequest) -> web.Response:
        requests.append(request)
        return web.Response(headers={"Set-Cookie": "a=b"})

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


async def test_there_is_one_session_and_it_keeps_no_cookies(tools: Tools) -> None:
    requests: list[web.BaseRequest] = []
    runner = await proxy(requests)
    session = await tools.http()
    for _ in range(2):
        async with session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/"):
            pass
    assert await tools.http() is session
    assert [request.headers.get("Cookie") for request in requests] == [None, None]
    await runner.cleanup()


async def test_the_proxy_of_the_environment_is_used_and_no_proxy_obeyed(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[web.BaseRequest] = []
    runner = await proxy(requests)
    port = runner.addresses[0][1]
    monkeypatch.setenv("http_proxy", f"http://user:p%40ss@127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    session = await tools.http()
    async with session.post("http://lims.example.org/hooks", data=b"1"):
        pass
    async with session.post(f"http://127.0.0.1:{port}/direct", data=b"1"):
        pass
    through, direct = requests
    assert (through.headers["Host"], through.raw_path) == ("lims.example.org", "http://lims.example.org/hooks")
    assert through.headers["Proxy-Authorization"] == "Basic " + b64encode(b"user:p@ss").decode()
    assert direct.raw_path == "/direct"
    assert "Proxy-Authorization" not in direct.headers
    await runner.cleanup()


async def test_passwords_of_a_netrc_file_are_not_sent(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    requests: list[web.BaseRequest] = []
    runner = await proxy(requests)
    async with (await tools.http()).get(f"http://127.0.0.1:{runner.addresses[0][1]}/"):
        pass
    assert "Authorization" not in requests[0].headers
    await runner.cleanup()


async def test_sessions_that_were_handed_in_are_not_closed(clock: object, tmp_path: Path) -> None:
    sessions = AwsSessions()
    tools = Tools(clock, tmp_path, sessions)  # type: ignore[arg-type]
    client = await tools.aws_client("sns", region="us-east-1", endpoint_url="http://127.0.0.1:1")
    await tools.close()
    assert await sessions.client("sns", region="us-east-1", endpoint_url="http://127.0.0.1:1") is client
    await sessions.close()


async def test_closing_what_was_never_used_opens_nothing_to_close(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(toolbox, "_http_session", lambda: opened.append("http"))
    monkeypatch.setattr(aws, "AwsSessions", lambda: opened.append("aws"))
    await tools.close()
    await tools.close()
    assert opened == []
