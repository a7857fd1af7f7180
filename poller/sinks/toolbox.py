"""What sinks share: the clock, the directory of the configuration, HTTP sessions, the AWS clients."""

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poller.ports import Clock
from poller.sinks.addresses import refusal

if TYPE_CHECKING:
    from aiohttp import AddrInfoType, ClientSession

    from poller.aws import AwsSessions


class Tools:
    """The `Toolbox` of this process.

    Args: `aws` are the sessions to use, made (and closed) here if there are none; `directory` is the configuration
    file's, the working directory if there is no file.
    """

    def __init__(self, clock: Clock, directory: Path, aws: "AwsSessions | None" = None) -> None:
        self.clock = clock
        self.directory = directory
        self._aws = aws
        self._owns_aws = aws is None
        self._http: dict[tuple[bool, bool], ClientSession] = {}

    async def http(self, *, allow_private: bool = True, proxies: bool = True) -> "ClientSession":
        """The HTTP session of its kind: made when it is first asked for; no time limit of its own but for connecting.

        Sessions share no connections, so that none that one of them may not make is used by it.
        """
        kind = (allow_private, proxies)
        if kind not in self._http:
            self._http[kind] = _http_session(allow_private=allow_private, proxies=proxies)
        return self._http[kind]

    async def aws_client(
        self,
        service: str,
        *,
        region: str | None = None,
        profile: str | None = None,
        role_arn: str | None = None,
        endpoint_url: str | None = None,
    ) -> Any:
        """See `AwsSessions.client`."""
        if self._aws is None:
            from poller.aws import AwsSessions  # 0.4 s of imports, for those who need it

            self._aws = AwsSessions()
        return await self._aws.client(
            service, region=region, profile=profile, role_arn=role_arn, endpoint_url=endpoint_url
        )

    async def close(self) -> None:
        """Close what was opened here."""
        aws = self._aws if self._owns_aws else None
        try:
            while self._http:
                await self._http.popitem()[1].close()
        finally:
            if aws is not None:
                self._aws = None
                await aws.close()


def _http_session(*, allow_private: bool, proxies: bool) -> "ClientSession":
    """No cookies, TLS verified, no limit on connections (the dispatcher has one), proxies of the environment.

    aiohttp's own `trust_env` is not used: it asks two threads and reads ~/.netrc for every request, which cost five
    sixths of the throughput (1,500 instead of 8,500 POSTs a second), and would send the passwords it finds there.
    """
    from aiohttp import ClientRequest, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
    from yarl import URL

    from poller.sinks.proxies import AUTHORIZATION, environment_proxies, proxy_in

    named = environment_proxies() if proxies else {}

    class ProxiedRequest(ClientRequest):
        """A request that goes through the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY say."""

        def __init__(self, method: str, url: URL, *, proxy: URL | None = None, **options: Any) -> None:
            found = proxy_in(named, url.scheme, url.host) if proxy is None else None
            if found is None:
                super().__init__(method, url, proxy=proxy, **options)
                return
            shown = {} if found.authorization is None else {AUTHORIZATION: found.authorization}
            super().__init__(method, url, proxy=found.url, **options | {"proxy_headers": shown})
            if url.scheme == "http":  # the proxy reads the request itself, not a CONNECT before it
                self.headers.update(shown)

    return ClientSession(
        connector=TCPConnector(limit=0, socket_factory=_socket_maker(allow_private=allow_private)),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None, sock_connect=30),
        request_class=ProxiedRequest if named else ClientRequest,
    )


def _socket_maker(*, allow_private: bool) -> "Callable[[AddrInfoType], socket.socket]":
    """Makes the socket of each connection, and looks at the address first.

    Here the name has been resolved, and what is looked at is what is connected to: a name that resolves to something
    else next time is judged anew. A resolver of our own would not see addresses that stand in the URL themselves.
    """

    def make(info: "AddrInfoType") -> socket.socket:
        family, kind, protocol, _, address = info
        if (why := refusal(str(address[0]), allow_private=allow_private)) is not None:
            raise PermissionError(errno.EACCES, why)
        return socket.socket(family, kind, protocol)

    return make
