"""How a webhook reaches its far end: over real TLS, through real proxies, and never to an address that is refused."""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from poller.core.errors import Retry
from poller.core.samples import sample_event
from poller.sinks.toolbox import Tools
from poller.sinks.webhook import WebhookSettings, WebhookSink

from .authority import Authority

EVENT = sample_event("failed")
METADATA = "169.254.169.254"


@dataclass
class Received:
    """What arrived: of each request the host it asked for, and the subject of the certificate that was shown."""

    url: str = ""
    hosts: list[str] = field(default_factory=list)
    subjects: list[Any] = field(default_factory=list)
    serials: list[Any] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Received]:
    """A server over HTTP or HTTPS that takes everything, and ends each connection with its answer."""
    received = Received()

    async def handle(request: web.Request) -> web.Response:
        received.hosts.append(request.host)
        received.headers += [name.lower() for name in request.headers]
        assert request.transport is not None
        shown = request.transport.get_extra_info("peercert") or {}
        received.subjects.append(dict(pair for (pair,) in shown.get("subject", ())).get("commonName"))
        received.serials.append(shown.get("serialNumber"))
        return web.Response(status=204, headers={"Connection": "close"})

    application = web.Application()
    application.router.add_post("/hooks", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        received.url = f"{'https' if tls else 'http'}://{host}:{runner.addresses[0][1]}/hooks"
        yield received
    finally:
        await runner.cleanup()


def sink_to(url: str, tools: Tools, **keys: Any) -> WebhookSink:
    table = {"name": "lims", "type": "webhook", "url": url, **keys}
    return WebhookSink(WebhookSettings.model_validate(table, context={"directory": tools.directory}), tools)


async def failure(sink: WebhookSink) -> str:
    with pytest.raises(Retry) as caught:
        await sink.send([EVENT])
    return str(caught.value)


# names


class Names:
    """A resolver for names that end in .test, which a test changes while sinks send."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: dict[str, list[str]] = {}
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)

    def _resolve(self, host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if not str(name).endswith(".test"):
            return self._real(host, port, *rest, **options)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.addresses[name]
        ]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that this process tried to connect to; those of other machines it is not let to."""
    tried: list[str] = []
    real = asyncio.selector_events.BaseSelectorEventLoop.sock_connect

    async def connect(loop: Any, sock: socket.socket, address: Any) -> None:
        tried.append(address[0])
        if address[0] not in ("127.0.0.1", "::1"):
            raise ConnectionRefusedError(111, f"no connections to {address[0]} in tests")
        await real(loop, sock, address)

    monkeypatch.setattr(asyncio.selector_events.BaseSelectorEventLoop, "sock_connect", connect)
    return tried


async def forget_names(tools: Tools, **kind: bool) -> None:
    """As when the time is over for which a name is remembered."""
    session: ClientSession = await tools.http(**kind)
    connector: Any = session.connector
    connector.clear_dns_cache()


async def test_a_name_that_comes_to_lead_to_the_metadata_service_is_not_followed_there(
    tools: Tools, names: Names, connected: list[str]
) -> None:
    """DNS rebinding: what is looked at is the address of each connection, not that of the first one."""
    names.addresses["lims.test"] = ["127.0.0.1"]
    async with receiver(host="lims.test") as received:
        sink = sink_to(received.url, tools)
        await sink.send([EVENT])
        for address in (METADATA, "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "0.0.0.0"):  # noqa: S104  # the address is what is tested
            names.addresses["lims.test"] = [address]
            await forget_names(tools, proxies=False)
            said = await failure(sink)
            assert "to which nothing is ever sent" in said
            assert said.startswith("lims.test:")
            with pytest.raises(OSError, match="to which nothing is ever sent"):
                await sink.probe()
        names.addresses["lims.test"] = ["127.0.0.1"]
        await forget_names(tools, proxies=False)
        await sink.send([EVENT])
    assert len(received.hosts) == 2
    assert set(connected) == {"127.0.0.1"}, "no connection was so much as tried"


async def test_of_several_addresses_those_that_may_not_be_are_passed_over(
    tools: Tools, names: Names, connected: list[str]
) -> None:
    names.addresses["lims.test"] = [METADATA, "fe80::1", "127.0.0.1"]
    async with receiver(host="lims.test") as received:
        sink = sink_to(received.url, tools)
        await sink.send([EVENT])
        assert await sink.probe() is None
    assert len(received.hosts) == 1
    assert set(connected) == {"127.0.0.1"}


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "::1", "fd12::7", "100.64.0.7", "::ffff:10.0.0.7"])
async def test_without_allow_private_only_the_public_internet_is_left(
    address: str, tools: Tools, names: Names, connected: list[str]
) -> None:
    names.addresses["lims.test"] = [address]
    sink = sink_to("http://lims.test/hooks", tools, allow_private=False)
    assert "set allow_private = true if that is meant" in await failure(sink)
    with pytest.raises(OSError, match="allow_private"):
        await sink.probe()
    assert connected == []
    names.addresses["lims.test"] = ["1.1.1.1"]
    await forget_names(tools, proxies=False, allow_private=False)
    assert "no connections to 1.1.1.1 in tests" in await failure(sink), "a public address is connected to"


async def test_a_sink_that_may_not_does_not_use_the_connection_of_one_that_may(tools: Tools, names: Names) -> None:
    names.addresses["lims.test"] = ["127.0.0.1"]
    async with receiver(host="lims.test") as received:
        await sink_to(received.url, tools).send([EVENT])
        await failure(sink_to(received.url, tools, allow_private=False))
    assert len(received.hosts) == 1


async def test_every_sink_that_uses_the_shared_session_is_kept_from_such_addresses(
    tools: Tools, names: Names, connected: list[str]
) -> None:
    names.addresses["lims.test"] = [METADATA]
    session = await tools.http()
    for url in ("http://lims.test/", f"http://{METADATA}/latest/meta-data", "http://[fd00:ec2::254]/"):
        with pytest.raises(OSError, match="to which nothing is ever sent"):
            await session.get(url)
    assert connected == []


# TLS


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_certificate_of_a_sink_lets_it_in_where_one_is_demanded(
    newest: ssl.TLSVersion, tools: Tools, ca: Authority, tmp_path: Path
) -> None:
    ca.issue("poller")
    others = tmp_path / "others"
    others.mkdir()
    stranger, key = Authority(others, "other").issue("stranger")
    tls = {"ca_file": "ca.pem", "client_certificate": "poller.crt", "client_key": "poller.key"}
    async with receiver(ca.server(clients=ca.ca_file, newest=newest)) as received:
        sink = sink_to(received.url, tools, **tls)
        await sink.send([EVENT])
        assert await sink.probe() is None
        assert received.subjects == ["poller"]

        of_others = sink_to(received.url, tools, **tls | {"client_certificate": str(stranger), "client_key": str(key)})
        await failure(of_others)
        with pytest.raises(OSError, match=r"(?i)unknown.ca|hung up"):
            await of_others.probe()
        await failure(sink_to(received.url, tools, ca_file="ca.pem"))
    assert received.subjects == ["poller"]


async def test_a_password_opens_the_key(tools: Tools, ca: Authority) -> None:
    ca.issue("poller", password="pw-5f0c")
    tls = {"ca_file": "ca.pem", "client_certificate": "poller.crt", "client_key": "poller.key"}
    async with receiver(ca.server(clients=ca.ca_file)) as received:
        await sink_to(received.url, tools, **tls, client_key_password="pw-5f0c").send([EVENT])
    assert received.subjects == ["poller"]


async def test_a_certificate_that_is_renewed_is_shown_from_then_on(tools: Tools, ca: Authority) -> None:
    """As cert-manager and certbot do it: the files change while the daemon runs."""
    _, key = ca.issue("poller")
    tls = {"ca_file": "ca.pem", "client_certificate": "poller.crt", "client_key": "poller.key"}
    async with receiver(ca.server(clients=ca.ca_file)) as received:
        sink = sink_to(received.url, tools, **tls)
        await sink.send([EVENT])
        before = key.read_bytes()
        ca.issue("poller")
        after = key.read_bytes()
        key.write_bytes(before + b" ")
        assert "client_key: " in await failure(sink), "half renewed is tried again, and no bug"
        key.write_bytes(after)
        await sink.send([EVENT])
    assert len(set(received.serials)) == len(received.serials) == 2


async def test_only_the_authorities_of_ca_file_are_trusted(tools: Tools, ca: Authority, tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    async with receiver(ca.server()) as received:
        await sink_to(received.url, tools, ca_file="ca.pem").send([EVENT])
        for keys in ({}, {"ca_file": str(Authority(others).ca_file)}):
            sink = sink_to(received.url, tools, **keys)
            assert "CERTIFICATE_VERIFY_FAILED" in await failure(sink)
            with pytest.raises(OSError, match=r"^127\.0\.0\.1:\d+: .*CERTIFICATE_VERIFY_FAILED"):
                await sink.probe()
    assert len(received.hosts) == 1


async def test_a_certificate_for_another_name_is_refused(tools: Tools, ca: Authority, names: Names) -> None:
    names.addresses |= {"lims.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}
    async with receiver(ca.server(), host="lims.test") as received:
        await sink_to(received.url, tools, ca_file="ca.pem").send([EVENT])
        sink = sink_to(received.url.replace("lims.test", "other.test"), tools, ca_file="ca.pem")
        assert "CERTIFICATE_VERIFY_FAILED" in await failure(sink)
    assert len(received.hosts) == 1


# proxies


@dataclass
class Proxy:
    """A forward proxy: plain requests and CONNECT, with a password if there is one."""

    password: str | None = None
    address: str = ""
    asked: list[str] = field(default_factory=list)
    leads_to: int = 0
    serving_now: list["asyncio.Task[Any]"] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving_now.append(task)
        try:
            await self.answer(reader, writer)
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        except asyncio.IncompleteReadError:  # a probe
            return
        first, *lines = head.split("\r\n")
        self.asked.append(first)
        headers = dict(line.split(": ", 1) for line in lines if line)
        if self.password is not None and headers.get("Proxy-Authorization") != self.password:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno")
        elif first.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.drain()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.leads_to)
            try:
                await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer))
            finally:
                far_writer.close()
        else:
            writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()

    @staticmethod
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Proxy"]:
        async with await asyncio.start_server(self.handle, "127.0.0.1", 0) as server:
            self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self
            for task in self.serving_now:
                task.cancel()
            await asyncio.gather(*self.serving_now, return_exceptions=True)


async def test_a_sink_goes_through_its_own_proxy_and_says_who_it_is(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with Proxy("Basic " + b64encode("poller:p:w-é5f0c".encode()).decode()).serving() as proxy:
        keys = {"proxy": proxy.address, "proxy_user": "poller", "proxy_password": "p:w-é5f0c"}
        sink = sink_to("http://lims.nowhere.test/hooks", tools, **keys)
        await sink.send([EVENT])
        assert proxy.asked == ["POST http://lims.nowhere.test/hooks HTTP/1.1"]
        assert "through the proxy 127.0.0.1" in (await sink.probe() or "")

        wrong = await failure(sink_to("http://lims.nowhere.test/", tools, **keys | {"proxy_password": "wrong-5f0c"}))
        assert "answered 407" in wrong
        assert "5f0c" not in wrong


async def test_tls_goes_through_a_proxy_to_the_far_end(tools: Tools, ca: Authority) -> None:
    """The proxy sees a name and a port; certificate and secret are shown to the far end alone."""
    ca.issue("poller")
    keys = {"ca_file": "ca.pem", "client_certificate": "poller.crt", "client_key": "poller.key"}
    async with (
        receiver(ca.server(clients=ca.ca_file), host="lims.test") as received,
        Proxy("Basic " + b64encode(b"poller:pw-5f0c").decode()).serving() as proxy,
    ):
        proxy.leads_to = int(received.url.split(":")[2].partition("/")[0])
        keys |= {"proxy": proxy.address, "proxy_user": "poller"}
        await sink_to(received.url, tools, **keys, proxy_password="pw-5f0c").send([EVENT])
        said = await failure(sink_to(received.url, tools, **keys, proxy_password="wrong-5f0c"))
        assert "Proxy Authentication Required" in said
        assert "5f0c" not in said
    assert proxy.asked[0].startswith("CONNECT lims.test:")
    assert received.subjects == ["poller"]
    assert "proxy-authorization" not in received.headers, "what is for the proxy is not for the far end"


@pytest.mark.parametrize("shared", [False, True])
async def test_the_far_end_does_not_learn_the_password_of_the_environments_proxy(
    shared: bool, tools: Tools, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        receiver(ca.server(), host="lims.test") as received,
        Proxy("Basic " + b64encode(b"poller:pw").decode()).serving() as proxy,
    ):
        proxy.leads_to = int(received.url.split(":")[2].partition("/")[0])
        monkeypatch.setenv("HTTPS_PROXY", proxy.address.replace("//", "//poller:pw@"))
        if shared:
            trusting = ssl.create_default_context(cafile=ca.ca_file)
            async with (await tools.http()).post(received.url, ssl=trusting) as answer:
                assert answer.status == 204
        else:
            await sink_to(received.url, tools, ca_file="ca.pem").send([EVENT])
    assert len(received.hosts) == len(proxy.asked) == 1
    assert "proxy-authorization" not in received.headers


async def test_an_empty_proxy_is_none_whatever_the_environment_says(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy().serving() as proxy, receiver() as received:
        monkeypatch.setenv("HTTP_PROXY", proxy.address)
        await sink_to(received.url, tools).send([EVENT])
        assert len(proxy.asked) == 1
        await sink_to(received.url, tools, proxy="").send([EVENT])
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        await sink_to(received.url, tools).send([EVENT])
    assert len(proxy.asked) == 1
    assert len(received.hosts) == 2


async def test_through_a_proxy_its_own_address_counts(tools: Tools, names: Names, connected: list[str]) -> None:
    """A proxy is nearly always in a private network, and was chosen; but a cloud's metadata service is no proxy."""
    async with Proxy().serving() as proxy:
        await sink_to("http://lims.nowhere.test/", tools, proxy=proxy.address, allow_private=False).send([EVENT])
        assert len(proxy.asked) == 1
    names.addresses["proxy.test"] = [METADATA]
    sink = sink_to("http://lims.nowhere.test/", tools, proxy="http://proxy.test:3128")
    assert "to which nothing is ever sent" in await failure(sink)
    with pytest.raises(OSError, match="to which nothing is ever sent"):
        await sink.probe()
    assert set(connected) == {"127.0.0.1"}


async def test_a_proxy_that_is_not_there_is_named(tools: Tools) -> None:
    said = await failure(sink_to("http://lims.nowhere.test/", tools, proxy="http://127.0.0.1:1"))
    assert "127.0.0.1:1" in said
    assert said.startswith("lims.nowhere.test:")
