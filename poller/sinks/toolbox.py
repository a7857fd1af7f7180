"""What sinks share: the clock, the directory of the configuration, one HTTP session, the AWS clients."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies_environment, proxy_bypass

from poller.ports import Clock

if TYPE_CHECKING:
    from aiohttp import ClientSession

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
        self._http: ClientSession | None = None

    async def http(self) -> "ClientSession":
        """The one HTTP session: made when it is first asked for; it has no time limit of its own but for connecting."""
        if self._http is None:
            self._http = _http_session()
        return self._http

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
        http, self._http = self._http, None
        aws = self._aws if self._owns_aws else None
        try:
            if http is not None:
                await http.close()
        finally:
            if aws is not None:
                self._aws = None
                await aws.close()


def proxy_for(scheme: str, host: str | None, proxies: Mapping[str, str]) -> str | None:
    """Which of the environment's proxies (HTTP_PROXY, HTTPS_PROXY) a host is reached through; None where there is none,
    and where NO_PROXY names the host.
    """
    named = proxies.get(scheme)
    return named if named and host is not None and not proxy_bypass(host) else None


def _http_session() -> "ClientSession":
    """No cookies, TLS verified, no limit on connections (the dispatcher has one), proxies of the environment.

    aiohttp's own `trust_env` is not used: it asks two threads and reads ~/.netrc for every request, which cost five
    sixths of the throughput (1,500 instead of 8,500 POSTs a second), and would send the passwords it finds there.
    """
    from aiohttp import BasicAuth, ClientRequest, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
    from yarl import URL

    proxies = getproxies_environment()

    class ProxiedRequest(ClientRequest):
        """A request that goes through the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY say."""

        def __init__(self, method: str, url: URL, *, proxy: URL | None = None, **options: Any) -> None:
            named = proxy_for(url.scheme, url.host, proxies) if proxy is None else None
            if named is not None:
                proxy = URL(named if "://" in named else f"http://{named}")
                options["proxy_auth"] = BasicAuth.from_url(proxy)
                proxy = proxy.with_user(None)
            super().__init__(method, url, proxy=proxy, **options)

    return ClientSession(
        connector=TCPConnector(limit=0),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None, sock_connect=30),
        request_class=ProxiedRequest if proxies else ClientRequest,
    )
