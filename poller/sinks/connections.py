"""How a sink reaches its far end over HTTP: certificates, authorities, a proxy, and where it may connect to."""

import socket
import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

import anyio
from aiohttp import ClientSession
from anyio.abc import ByteStream
from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, model_validator
from pydantic_core import InitErrorDetails

from poller.core.errors import Retry
from poller.core.values import Secret, SinkSettings
from poller.ports.sinks import Toolbox
from poller.sinks.addresses import literal, refusal
from poller.sinks.certificates import CertificateError, CertificateFiles, RenewedContext
from poller.sinks.proxies import AUTHORIZATION, Proxy, environment_proxies, proxy_in

ALERT_SECONDS: Final = 1.0
"""How long a probe listens for the far end's word against our certificate: in TLS 1.3 it comes after the handshake."""


def _proxy(text: str) -> str:
    if not text:
        return text
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not an address: its host or port cannot be read") from None
    if "@" in parts.netloc:
        raise ValueError("no user or password in it; proxy_user and proxy_password are for them")
    rest = (parts.path.strip("/"), parts.query, parts.fragment)
    if parts.scheme != "http" or not host or port == 0 or any(rest) or not text.isprintable() or " " in text:
        raise ValueError("expected an address such as http://proxy.example.org:3128")
    if (address := literal(host)) is not None and (why := refusal(address)) is not None:
        raise ValueError(why)
    return text


class ConnectionSettings(SinkSettings, hide_input_in_errors=True):
    """What a sink that sends over HTTP can be told of its connections. Paths are relative to the configuration."""

    client_certificate: Path | None = Field(
        None, description="Certificate to show to the far end (PEM, with those between); relative to this file."
    )
    client_key: Path | None = Field(None, description="Its private key (PEM), if it is in a file of its own.")
    client_key_password: Secret | None = Field(None, description="Password of an encrypted client_key.")
    ca_file: Path | None = Field(
        None, description="Authorities (PEM) to trust in place of the system's; relative to this file."
    )
    proxy: Annotated[str, AfterValidator(_proxy)] | None = Field(
        None, description='HTTP proxy to go through; "" = none; omit for HTTP_PROXY, HTTPS_PROXY and NO_PROXY.'
    )
    proxy_user: str | None = Field(None, pattern=r"^[^:]+$", description="User to name to the proxy, without a colon.")
    proxy_password: Secret | None = Field(None, description="Password of that user.")
    allow_private: bool = Field(
        True, description="Whether it may connect to this machine and to private networks, and not only to public ones."
    )

    @model_validator(mode="after")
    def _connections(self, info: ValidationInfo) -> Self:
        """Keys that need each other, and, where it is known what paths are relative to, the files."""
        wrong = dict(self._contradictions())
        directory: Path | None = (info.context or {}).get("directory")
        if not wrong and directory is not None:
            try:
                certificate_files(self, directory).check()
            except CertificateError as error:
                wrong[error.key] = error.sentence
        if wrong:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(type="value_error", loc=(key,), input=None, ctx={"error": ValueError(sentence)})
                    for key, sentence in wrong.items()
                ],
            )
        return self

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        """Keys that make no sense beside the others, and why."""
        for key, needed in (
            ("client_key", "client_certificate"),
            ("client_key_password", "client_certificate"),
            ("proxy_user", "proxy"),
            ("proxy_password", "proxy_user"),
        ):
            if getattr(self, key) is not None and not getattr(self, needed):
                yield key, f"goes with {needed}; set that too, or take this out"

    def warnings(self, directory: Path, now: datetime) -> list[str]:
        """Certificates that are no longer valid, not yet, or not for long."""
        return list(certificate_files(self, directory).doubts(now))


def certificate_files(settings: ConnectionSettings, directory: Path) -> CertificateFiles:
    """The files that settings name."""

    def found(path: Path | None) -> Path | None:
        return None if path is None else directory / path.expanduser()

    password = settings.client_key_password
    return CertificateFiles(
        found(settings.client_certificate),
        found(settings.client_key),
        None if password is None else password.get_secret_value(),
        found(settings.ca_file),
    )


class Connection:
    """How one sink reaches one URL.

    What is refused is refused at each connection, by the address itself (`Toolbox.http`). Through a proxy it is the
    proxy that is connected to: its address may be private, and to which address the name in the URL leads is the
    proxy's to know and to judge.
    """

    def __init__(self, settings: ConnectionSettings, url: str, tools: Toolbox) -> None:
        self._settings = settings
        self._url = urlsplit(url)
        self._tools = tools
        self.proxy = _proxy_of(settings, self._url.scheme, self._url.hostname)
        files = certificate_files(settings, tools.directory)
        self._tls = RenewedContext(files) if files.paths and self._url.scheme == "https" else None

    async def session(self) -> ClientSession:
        """The session to send by, each request with `options`."""
        direct = self.proxy is None
        session: ClientSession = await self._tools.http(
            allow_private=self._settings.allow_private if direct else True, proxies=False
        )
        return session

    @property
    def headers(self) -> dict[str, str]:
        """Headers of each request that are about the way and not about its content."""
        proxy = self.proxy
        if proxy is None or proxy.authorization is None or self._url.scheme == "https":
            return {}  # over TLS the proxy reads a CONNECT, and the far end must not learn its password
        return {AUTHORIZATION: proxy.authorization}

    def options(self) -> dict[str, Any]:
        """What each request is given, beside its content. Raises: Retry while files of certificates cannot be used."""
        options: dict[str, Any] = {}
        if self.proxy is not None:
            options["proxy"] = self.proxy.url
            if self.proxy.authorization is not None and self._url.scheme == "https":
                options["proxy_headers"] = {AUTHORIZATION: self.proxy.authorization}
        if self._tls is not None:
            options["ssl"] = self._context(self._tls)
        return options

    async def probe(self) -> str | None:
        """Connect, TLS included, and send nothing. Says so if a proxy is in the way of that.

        Raises: OSError, naming what was not reached; Retry as `options`.
        """
        with anyio.fail_after(self._settings.timeout.total_seconds()):
            if self.proxy is not None:
                proxy = f"the proxy {self.proxy.url.authority}"
                await self._reach(proxy, self.proxy.url.host or "", self.proxy.url.port or 80, None)
                return f"{self._url.netloc} is reached through {proxy}: not tried beyond that"
            secure = self._url.scheme == "https"
            tls = self._context(self._tls) if self._tls else ssl.create_default_context() if secure else None
            port = self._url.port or (443 if secure else 80)
            await self._reach(self._url.netloc, self._url.hostname or "", port, tls)
        return None

    async def _reach(self, what: str, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        try:
            await self._connect(host, port, tls)
        except OSError as error:
            raise OSError(f"{what}: {error}") from error

    async def _connect(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Connect to the first address of a host that lets us, of those that may be connected to, and hang up."""
        allow_private = self._settings.allow_private or self.proxy is not None
        failure: OSError | None = None
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for address in dict.fromkeys(str(place[0]) for *_, place in found):
            if (why := refusal(address, allow_private=allow_private)) is not None:
                failure = failure or OSError(why)
                continue
            try:
                return await self._shake_hands(address, host, port, tls)
            except OSError as error:
                failure = error
        raise failure or OSError(f"{host} has no address")

    async def _shake_hands(self, address: str, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        try:
            stream: ByteStream
            if tls is None:
                stream = await anyio.connect_tcp(address, port)
            else:
                stream = await anyio.connect_tcp(address, port, ssl_context=tls, tls_hostname=host)
            try:
                if self._settings.client_certificate is not None and tls is not None:
                    with anyio.move_on_after(ALERT_SECONDS):
                        await stream.receive(1)
            finally:
                await anyio.aclose_forcefully(stream)
        except (anyio.EndOfStream, anyio.BrokenResourceError, ssl.SSLZeroReturnError):
            raise ConnectionError("the far end hung up during the handshake, or right after it") from None

    @staticmethod
    def _context(tls: RenewedContext) -> ssl.SSLContext:
        try:
            return tls.context()
        except CertificateError as error:
            raise Retry(str(error)) from None


def _proxy_of(settings: ConnectionSettings, scheme: str, host: str | None) -> Proxy | None:
    if settings.proxy is None:
        return proxy_in(environment_proxies(), scheme, host)
    if not settings.proxy:
        return None
    password = settings.proxy_password
    return Proxy.named(settings.proxy, settings.proxy_user, None if password is None else password.get_secret_value())
