"""Webhooks: signatures, what each answer means, what is never shown."""

import asyncio
import gzip
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from poller.core.deliveries import Delivery
from poller.core.errors import Rejected, Retry
from poller.core.samples import sample_event
from poller.delivery.attempts import attempt
from poller.delivery.limits import Limit
from poller.sinks import answers
from poller.sinks.toolbox import Tools
from poller.sinks.webhook import WebhookSettings, WebhookSink
from poller.version import __version__

SECRET = "whsec_c2l4dGVlbi1ieXRlcy1hdC1sZWFzdA=="
NEW_SECRET = "whsec_bmV3ZXItc2VjcmV0LW9mLW91cnM="
EVENT = sample_event("failed")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def sink_to(url: str, tools: Tools, **keys: Any) -> WebhookSink:
    table = {"name": "lims", "type": "webhook", "url": url, **keys}
    return WebhookSink(WebhookSettings.model_validate(table), tools)


@asynccontextmanager
async def server(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/hooks?key=k-77aa"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def answering(
    status: int = 204, text: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[tuple[str, list[tuple[Any, bytes]]]]:
    """A server that always answers so, and what it got: (request, body)."""
    got: list[tuple[Any, bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        got.append((request, await request.read()))
        return web.Response(status=status, text=text or None, headers=headers)

    async with server(handle) as url:
        yield url, got


@asynccontextmanager
async def raw(answer: bytes) -> AsyncIterator[str]:
    """A server that says these bytes, whatever it is asked, and hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"


async def failure(sink: WebhookSink) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        await sink.send([EVENT])
    return caught.value


async def test_a_receiver_can_verify_what_it_got(tools: Tools) -> None:
    async with answering() as (url, got):
        await sink_to(url, tools, secret=SECRET).send([EVENT])
    ((request, body),) = got
    Webhook(SECRET).verify(body, dict(request.headers))
    assert body == EVENT.body
    assert request.method == "POST"
    assert request.path_qs == "/hooks?key=k-77aa"
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert request.headers["webhook-id"] == EVENT.id
    assert request.headers["user-agent"] == f"healthomics-poller/{__version__}"
    assert "cookie" not in request.headers


async def test_every_attempt_is_signed_with_its_own_time(tools: Tools, clock: Any) -> None:
    async with answering() as (url, got):
        sink = sink_to(url, tools, secret=SECRET)
        await sink.send([EVENT])
        clock.time += timedelta(seconds=90)
        await sink.send([EVENT])
    stamps = [int(request.headers["webhook-timestamp"]) for request, _ in got]
    assert stamps == [int(clock.time.timestamp()) - 90, int(clock.time.timestamp())]
    assert len({request.headers["webhook-id"] for request, _ in got}) == 1
    for request, body in got:
        Webhook(SECRET).verify(body, dict(request.headers))


async def test_without_a_secret_nothing_is_signed(tools: Tools) -> None:
    async with answering() as (url, got):
        await sink_to(url, tools).send([EVENT])
    assert "webhook-signature" not in got[0][0].headers
    assert got[0][0].headers["webhook-id"] == EVENT.id


async def test_while_secrets_change_receivers_with_the_old_and_with_the_new_one_can_verify(tools: Tools) -> None:
    async with answering() as (url, got):
        await sink_to(url, tools, secret=[NEW_SECRET, SECRET]).send([EVENT])
        await sink_to(url, tools, secret=NEW_SECRET).send([EVENT])
        await sink_to(url, tools, secret=[NEW_SECRET]).send([EVENT])
    (both, body), (one, _), (list_of_one, _) = got
    for secret in (SECRET, NEW_SECRET):
        Webhook(secret).verify(body, dict(both.headers))
    assert [len(request.headers["webhook-signature"].split(" ")) for request in (both, one, list_of_one)] == [2, 1, 1]
    for request in (one, list_of_one):
        Webhook(NEW_SECRET).verify(body, dict(request.headers))
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, dict(request.headers))


async def test_no_secret_of_several_is_shown(tools: Tools) -> None:
    """The far end repeats what it guessed, or was given."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=500, text=f"{SECRET} {NEW_SECRET.removeprefix('whsec_')} pw-5f0c")

    async with server(handle) as url:
        sink = sink_to(url, tools, secret=[NEW_SECRET, SECRET], proxy="", headers={"A": "pw-5f0c"})
        said = str(await failure(sink))
    assert said.endswith("answered 500: [hidden] [hidden] [hidden]")
    for secret in (SECRET, NEW_SECRET):
        assert secret.removeprefix("whsec_") not in repr(sink.settings) + sink.settings.model_dump_json()


async def test_headers_of_the_user_are_sent(tools: Tools) -> None:
    async with answering() as (url, got):
        await sink_to(url, tools, headers={"Authorization": "Bearer t", "User-Agent": "mine"}).send([EVENT])
    assert got[0][0].headers["Authorization"] == "Bearer t"
    assert got[0][0].headers.getall("User-Agent") == ["mine"]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_2xx_acknowledges(status: int, tools: Tools) -> None:
    async with answering(status) as (url, got):
        await sink_to(url, tools).send([EVENT])
    assert len(got) == 1


@pytest.mark.parametrize("status", [400, 410, 413, 422])
async def test_poison_is_rejected(status: int, tools: Tools) -> None:
    async with answering(status, "no such field") as (url, _):
        error = await failure(sink_to(url, tools))
    assert isinstance(error, Rejected)
    assert error.reason.startswith("127.0.0.1:")
    assert error.reason.endswith(f"answered {status}: no such field")


@pytest.mark.parametrize("status", [300, 304, 401, 402, 403, 404, 405, 408, 409, 425, 429, 451, 500, 502, 503, 599])
async def test_everything_else_is_tried_again(status: int, tools: Tools) -> None:
    async with answering(status) as (url, got):
        error = await failure(sink_to(url, tools))
    assert isinstance(error, Retry)
    assert f"answered {status}" in str(error)
    assert error.after is None
    assert len(got) == 1, "retries are the dispatcher's"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int, tools: Tools) -> None:
    async with answering(status, headers={"Location": "https://new.example.org/hooks?key=k-77aa"}) as (url, got):
        error = await failure(sink_to(url, tools, secret=SECRET))
    assert isinstance(error, Retry)
    assert len(got) == 1
    assert str(error).endswith(
        f"answered {status}: redirects to https://new.example.org/hooks, which is not followed: "
        "put the final address into url"
    )


async def test_retry_after_is_obeyed(tools: Tools, clock: Any) -> None:
    clock.time = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)
    later = format_datetime(clock.time + timedelta(minutes=2), usegmt=True)
    earlier = format_datetime(clock.time - timedelta(minutes=2), usegmt=True)
    expected = {
        "0": timedelta(0),
        " 120 ": timedelta(minutes=2),
        later: timedelta(minutes=2),
        earlier: timedelta(0),
        "-1": None,
        "soon": None,
        "1.5": None,
        "9" * 400: None,
        "": None,
    }
    for value, after in expected.items():
        for status in (429, 503):
            async with answering(status, headers={"Retry-After": value}) as (url, _):
                error = await failure(sink_to(url, tools))
            assert isinstance(error, Retry)
            assert error.after == after, value


async def test_an_excerpt_is_short_clean_and_without_secrets(tools: Tools) -> None:
    """The far end repeats our headers in its error page, with a bell and an escape sequence."""

    async def handle(request: web.Request) -> web.Response:
        text = f"\x1b[31mno\x07\r\n{dict(request.headers)} {request.path_qs} " + "x" * 5000
        return web.Response(status=500, text=text)

    headers = {"Authorization": "Bearer tok-5f0c9a77", "X-Api-Key": "key-1d2e"}
    async with server(handle) as url:
        text = str(await failure(sink_to(url, tools, secret=SECRET, headers=headers)))
    assert text.isprintable()
    assert len(text) < 400
    assert "[31mno" in text
    for secret in ("tok-5f0c9a77", "key-1d2e", SECRET, "k-77aa"):
        assert secret not in text
    assert "'Authorization': '[hidden]'" in text


async def test_an_endless_answer_is_not_read(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "DRAIN_SECONDS", 0.05)
    written = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(status=int(request.path.removeprefix("/")))
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b"x" * 65536)
            written += 65536
        return response

    async with server(handle) as url:
        base = url.partition("/hooks")[0]
        await sink_to(f"{base}/200", tools).send([EVENT])
        assert isinstance(await failure(sink_to(f"{base}/422", tools)), Rejected)
    assert written < 64 * 1024 * 1024


async def test_an_answer_whose_body_hangs_is_judged_by_its_status(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "DRAIN_SECONDS", 0.05)
    let_go = asyncio.Event()
    hanging: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=int(request.path.removeprefix("/")))
        await response.prepare(request)
        await response.write(b"{")
        hanging.append(request.path)
        await let_go.wait()
        return response

    async with server(handle) as url:
        base = url.partition("/hooks")[0]
        await sink_to(f"{base}/200", tools).send([EVENT])
        assert isinstance(await failure(sink_to(f"{base}/422", tools)), Rejected)
        assert isinstance(await failure(sink_to(f"{base}/503", tools)), Retry)
        assert hanging == ["/200", "/422", "/503"]
        let_go.set()


async def test_an_answer_that_comes_byte_by_byte_is_judged_by_its_status(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow drip keeps every single read short: what is limited is the whole."""
    monkeypatch.setattr(answers, "DRAIN_SECONDS", 0.05)
    ends: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=int(request.path.removeprefix("/")))
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x")
                await asyncio.sleep(0.001)
        except ConnectionError:
            ends.append("hung up")
            raise

    async with server(handle) as url:
        base = url.partition("/hooks")[0]
        await sink_to(f"{base}/200", tools).send([EVENT])
        error = await failure(sink_to(f"{base}/422", tools))
    assert isinstance(error, Rejected)
    assert "answered 422: xx" in error.reason
    assert ends == ["hung up", "hung up"], "the rest is not waited for elsewhere either"


@pytest.mark.parametrize("pause", [0.001, None])
async def test_headers_without_an_end_end_with_the_attempt(pause: float | None, tools: Tools) -> None:
    """Slowly they last until the sink's timeout; quickly, until there are more than any answer has."""
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while True:
                writer.write(b"A: b\r\n" * (1 if pause else 10_000))
                await writer.drain()
                await asyncio.sleep(pause or 0)
        except ConnectionError:
            ended.set()
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with listening:
        sink = sink_to(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/", tools)
        (outcome,) = await attempt(
            sink, [Delivery(0, "lims", EVENT.source, EVENT)], [EVENT], Limit(0.2 if pause else 20)
        )
        await ended.wait()
    assert outcome.error is not None
    assert not outcome.rejected


async def test_a_small_answer_that_unpacks_to_a_large_one_is_not_unpacked(tools: Tools) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)

    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=422, body=bomb, headers={"Content-Encoding": "gzip"})

    async with server(handle) as url:
        sink = sink_to(url, tools)
        await failure(sink)
        tracemalloc.start()
        error = await failure(sink)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert isinstance(error, Rejected)
    assert peak < 5_000_000


async def test_connections_are_used_again(tools: Tools) -> None:
    peers: set[Any] = set()

    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        await request.read()
        return web.json_response({"ok": True})

    async with server(handle) as url:
        sink = sink_to(url, tools)
        for _ in range(20):
            await sink.send([EVENT])
    assert len(peers) == 1


async def test_nobody_there(tools: Tools) -> None:
    async with answering() as (url, _):
        pass
    error = await failure(sink_to(url, tools, secret=SECRET, headers={"Authorization": "tok-5f0c9a77"}))
    assert isinstance(error, Retry)
    assert "ClientConnectorError" in str(error)
    assert "k-77aa" not in str(error)


@pytest.mark.parametrize(
    "answer", [b"", b"hi\r\n\r\n", b"HTTP/1.1 a OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n"]
)
async def test_an_answer_that_is_no_http_shows_no_header_of_ours(answer: bytes, tools: Tools) -> None:
    """aiohttp's own error holds the request's headers, and shows them in its repr: it must not be chained either."""
    async with raw(answer) as url:
        error = await failure(sink_to(url, tools, headers={"Authorization": "tok-5f0c9a77"}))
    assert isinstance(error, Retry)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "tok-5f0c9a77" not in repr(error)


async def test_a_certificate_that_nobody_signed_is_refused(tools: Tools, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    got = []

    async def handle(request: web.Request) -> web.Response:
        got.append(request)
        return web.Response()

    async with server(handle, context) as url:
        sink = sink_to(url, tools)
        error = await failure(sink)
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await sink.probe()
    assert isinstance(error, Retry)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert got == []


def self_signed(directory: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = directory / "server.pem"
    file.write_bytes(secret + certificate.public_bytes(pem))
    return file


async def test_a_probe_connects_and_asks_for_nothing(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    async with answering() as (url, got):
        sink = sink_to(url, tools)
        assert await sink.probe() is None
        assert got == []
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        with pytest.raises(OSError, match="connection attempts failed"):
            await sink_to(url, tools).probe()
        monkeypatch.delenv("HTTP_PROXY")
    with pytest.raises(OSError, match="connection attempts failed"):
        await sink.probe()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.org/", "expected an address such as"),
        ("example.org/hooks", "expected an address such as"),
        ("https://", "expected an address such as"),
        ("https:///hooks", "expected an address such as"),
        ("https://user:pw-3f@example.org/", "no user or password in the address"),
        ("https://pw-3f@example.org/", "no user or password in the address"),
        ("https://example.org:99999/", "its host or port cannot be read"),
        ("https://[::1/", "its host or port cannot be read"),
        ("https://example.org/a b", "no spaces"),
        ("http://169.254.169.254/latest", "metadata service"),
        ("http://[fe80::1]/", "a link-local address"),
        ("http://[::ffff:a9fe:a9fe]/", "which stands for 169.254.169.254"),
        ("https://example.org/\n", "no spaces and no control characters"),
    ],
)
def test_addresses_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        WebhookSettings(name="a", type="webhook", url=url)
    assert "pw-3f" not in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ("", "begins with whsec_"),
        ("c2l4dGVlbi1ieXRlcw==", "begins with whsec_"),
        ("whsec_", "is base64"),
        ("whsec_not base64!", "is base64"),
        ("whsec_c2l4dGVlbi1ieXRlcw==extra", "is base64"),
    ],
)
def test_secrets_that_are_refused(secret: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        WebhookSettings.model_validate({"name": "a", "type": "webhook", "url": "https://b", "secret": secret})
    assert "c2l4" not in str(caught.value)


@pytest.mark.parametrize(
    ("secrets", "says"),
    [
        ([], "at least 1 item"),
        ([SECRET] * 9, "at most 8 items"),
        ([SECRET, "c2l4dGVlbi1ieXRlcw=="], "begins with whsec_"),
        ([SECRET, 5], "valid string"),
        (5, "text, in quotes, or a list of texts"),
    ],
)
def test_lists_of_secrets_that_are_refused(secrets: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        WebhookSettings.model_validate({"name": "a", "type": "webhook", "url": "https://b", "secret": secrets})
    assert "c2l4" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "at", "says"),
    [
        ({"client_key": "a.key"}, "client_key", "goes with client_certificate; set that too"),
        ({"client_key_password": "pw-3f"}, "client_key_password", "goes with client_certificate"),
        ({"client_certificate": "a.crt", "url": "http://b"}, "client_certificate", "https only"),
        ({"ca_file": "a.crt", "url": "http://b"}, "ca_file", "https only"),
        ({"url": "http://10.0.0.1/", "allow_private": False}, "url", "set allow_private = true if that is meant"),
        ({"url": "http://[::1]/", "allow_private": False}, "url", "set allow_private = true if that is meant"),
        ({"proxy_user": "me"}, "proxy_user", "goes with proxy"),
        ({"proxy_user": "me", "proxy": ""}, "proxy_user", "goes with proxy"),
        ({"proxy_user": "m:e", "proxy": "http://p"}, "proxy_user", "pattern"),
        ({"proxy_password": "pw-3f", "proxy": "http://p"}, "proxy_password", "goes with proxy_user"),
        ({"proxy": "http://me:pw-3f@p:3128"}, "proxy", "no user or password in it"),
        ({"proxy": "p:3128"}, "proxy", "expected an address such as http://proxy.example.org:3128"),
        ({"proxy": "https://p:3128"}, "proxy", "expected an address such as"),
        ({"proxy": "socks5://p:3128"}, "proxy", "expected an address such as"),
        ({"proxy": "http://p:0"}, "proxy", "expected an address such as"),
        ({"proxy": "http://p:99999"}, "proxy", "its host or port cannot be read"),
        ({"proxy": "http://p/path"}, "proxy", "expected an address such as"),
        ({"proxy": "http://169.254.169.254:80"}, "proxy", "metadata service"),
    ],
)
def test_keys_of_a_connection_that_are_refused(keys: dict[str, Any], at: str, says: str) -> None:
    table = {"name": "a", "type": "webhook", "url": "https://b", **keys}
    with pytest.raises(ValidationError) as caught:
        WebhookSettings.model_validate(table)
    (error,) = caught.value.errors()
    assert error["loc"] == (at,)
    assert says in error["msg"]
    assert "pw-3f" not in str(caught.value)


async def test_a_secret_without_its_padding_is_taken(tools: Tools) -> None:
    assert SECRET.endswith("==")
    async with answering() as (url, got):
        await sink_to(url, tools, secret=SECRET.rstrip("=")).send([EVENT])
    ((request, body),) = got
    Webhook(SECRET).verify(body, dict(request.headers))
    assert body == EVENT.body


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"Content-Type": "text/plain"}, "Content-Type is set by the sink itself"),
        ({"Webhook-Id": "1"}, "Webhook-Id is set by the sink itself"),
        ({"A b": "1"}, "letters, digits and dashes"),
        ({"A": "secret-1\r\nB: 2"}, "the value of the header A holds a line break"),
    ],
)
def test_headers_that_are_refused(header: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        WebhookSettings.model_validate({"name": "a", "type": "webhook", "url": "https://b", "headers": header})
    assert "secret-1" not in str(caught.value)
