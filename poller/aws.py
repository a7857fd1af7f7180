"""AWS sessions that live as long as the daemon: one client for each service, region, identity and address.

A client is made when it is first asked for, once, however many ask. botocore's own retries are off, since every retry
is ours; credentials are read by botocore as every AWS tool reads them, and its errors pass as they are. Hooks are
registered by the caller: `client.meta.events.register("before-parse.omics.GetRun", handler)`.
Measured: a ListRuns page of 100 costs 19.7 ms of CPU with botocore's timestamp parsing and 2.9 ms with `parse_instant`.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache, partial
from typing import Any, Final, NamedTuple

import anyio
from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioCredentialResolver,
    AioDeferredRefreshableCredentials,
)
from aiobotocore.parsers import AioResponseParserFactory
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.exceptions import NoCredentialsError
from botocore.loaders import Loader, create_loader

ROLE_SESSION_NAME: Final = "healthomics-poller"
"""How our calls are named in CloudTrail where a role was assumed."""

CONNECTIONS: Final = 64
"""Connections that one client may hold: above the concurrency of a sink (16), so that no call waits for another's."""


class _Key(NamedTuple):
    service: str
    region: str | None
    endpoint_url: str | None
    profile: str | None
    role_arn: str | None
    external_id: str | None


class _Identity(NamedTuple):
    """What a session is made of. `region` only matters to an assumed role: it says which STS is asked."""

    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None
    region: str | None = None

    @classmethod
    def of(cls, key: _Key) -> "_Identity":
        """Whose session a client belongs to."""
        if key.role_arn is None:
            return cls(key.profile)
        return cls(key.profile, key.role_arn, key.external_id, key.region)


class AwsSessions:
    """The clients of this process.

    Args: the timeouts are in seconds, of one connection and of one read; `timestamp_parser` reads the timestamps of
    answers and raises ValueError for what it cannot read; `now` is the clock by which a role's credentials age.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 5.0,
        read_timeout: float = 20.0,
        timestamp_parser: Callable[[Any], datetime] | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._options: dict[str, Any] = {
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "connect_timeout": connect_timeout,
            "read_timeout": read_timeout,
            "max_pool_connections": CONNECTIONS,
        }
        self._timestamp_parser = timestamp_parser or parse_instant
        self._now = now or partial(datetime.now, UTC)
        self._sessions: dict[_Identity, AioSession] = {}
        self._clients: dict[_Key, Any] = {}
        self._making: dict[_Key, anyio.Lock] = {}
        self._open = AsyncExitStack()
        self._retired: AsyncExitStack | None = None
        self._closed = False

    async def client(
        self,
        service: str,
        *,
        region: str | None = None,
        profile: str | None = None,
        role_arn: str | None = None,
        external_id: str | None = None,
        endpoint_url: str | None = None,
    ) -> Any:
        """The aiobotocore client for these arguments; what is None is found as every AWS tool finds it.

        It stays ours: do not close it, and ask again after `renew`. `endpoint_url` is the address of this service only;
        STS, for `role_arn`, is asked where AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL or the profile say.
        Raises: botocore's errors (NoRegionError, ProfileNotFound, …); RuntimeError after `close`.
        """
        key = _Key(service, region, endpoint_url, profile, role_arn, external_id)
        if (made := self._clients.get(key)) is not None:
            return made
        # a lock and not a shared task: whoever makes it may be cancelled, and the next one in line then makes it
        async with self._making.setdefault(key, anyio.Lock()):
            while (made := self._clients.get(key)) is None:
                if self._closed:
                    raise RuntimeError("the AWS sessions are closed")
                owner = self._open
                opening = _opened(self._session(_Identity.of(key)), key, self._options)
                client = await opening.__aenter__()
                if owner is self._open and not self._closed:
                    owner.push_async_exit(opening)
                    self._clients[key] = client
                else:  # renewed or closed meanwhile: what was made is of before
                    await opening.__aexit__(None, None, None)
            return made

    async def renew(self) -> None:
        """Forget all sessions and clients: who asks next gets new ones, with credentials that are read anew.

        Clients of before are closed by the next `renew` (or `close`), so that answers in flight still arrive.
        """
        self._sessions.clear()
        self._clients.clear()
        before, self._retired, self._open = self._retired, self._open, AsyncExitStack()
        if before is not None:
            with anyio.CancelScope(shield=True):
                await before.aclose()

    async def close(self) -> None:
        """Close every client; in whatever task, and more than once. Whoever is cancelled here still closes all."""
        self._closed = True
        self._sessions.clear()
        self._clients.clear()
        with anyio.CancelScope(shield=True):
            try:
                if self._retired is not None:
                    await self._retired.aclose()
            finally:
                await self._open.aclose()

    def _session(self, identity: _Identity) -> AioSession:
        session = self._sessions.get(identity)
        if session is None:
            session = AioSession(profile=identity.profile)
            factory = AioResponseParserFactory()
            factory.set_parser_defaults(timestamp_parser=self._timestamp_parser)
            session.register_component("response_parser_factory", factory)
            session.lazy_register_component("data_loader", partial(_models_of, session))
            if identity.role_arn is not None:
                source = self._session(_Identity(identity.profile))
                provider: Any = _AssumedRole(source, identity.role_arn, identity, self._options, self._now)
                session.register_component("credential_provider", AioCredentialResolver([provider]))
            self._sessions[identity] = session
        return session


def _models_of(session: AioSession) -> Loader:
    return _models(session.get_config_variable("data_path"))


@cache
def _models(search_path: str | None) -> Loader:
    """botocore's descriptions of the services, read and parsed once for all sessions: 50 ms of CPU for each more."""
    return create_loader(search_path)


@asynccontextmanager
async def _opened(session: AioSession, key: _Key, options: dict[str, Any]) -> AsyncIterator[Any]:
    """One client, with the host prefix ("workflows-" of HealthOmics) off where a custom address is in force."""
    create: Any = partial(session.create_client, key.service, region_name=key.region)
    if key.endpoint_url is not None:
        config = AioConfig(**options, inject_host_prefix=False)
        async with create(endpoint_url=key.endpoint_url, config=config) as client:
            yield client
        return
    # the environment or the profile may name an address: ask botocore what it would be without them (4 ms)
    without = AioConfig(ignore_configured_endpoint_urls=True, signature_version=UNSIGNED)
    async with create(config=without) as reference:
        usual = reference.meta.endpoint_url
    async with create(config=AioConfig(**options)) as client:
        if client.meta.endpoint_url != usual:
            client.meta.config.inject_host_prefix = False
        yield client


class _AskedEachTime(AioAssumeRoleCredentialFetcher):
    """Asks STS whenever it is called: what is still good the credentials themselves keep, by the clock handed in."""

    def _load_from_cache(self) -> None:
        return None


class _AssumedRole:
    """A botocore credential provider: the credentials of a role, renewed before they expire."""

    METHOD: Final = "assume-role"
    CANONICAL_NAME: Final = None

    def __init__(
        self,
        source: AioSession,
        role_arn: str,
        identity: _Identity,
        options: dict[str, Any],
        now: Callable[[], datetime],
    ) -> None:
        self._now = now
        self._source = source
        self._role_arn = role_arn
        self._identity = identity
        self._options = options

    async def load(self) -> AioDeferredRefreshableCredentials:
        """The credentials, not asked for yet: STS is asked by the first call that is signed with them.

        Raises: NoCredentialsError if there are none that could assume the role.
        """
        source = await self._source.get_credentials()
        if source is None:
            raise NoCredentialsError
        extra = {"RoleSessionName": ROLE_SESSION_NAME}
        if self._identity.external_id is not None:
            extra["ExternalId"] = self._identity.external_id
        sts: Any = partial(
            self._source.create_client, region_name=self._identity.region, config=AioConfig(**self._options)
        )
        fetcher = _AskedEachTime(sts, source, self._role_arn, extra_args=extra)
        return AioDeferredRefreshableCredentials(fetcher.fetch_credentials, self.METHOD, time_fetcher=self._now)


def parse_instant(value: Any) -> datetime:
    """A timestamp of an AWS answer as aware UTC: ISO 8601, HTTP date, or seconds since 1970 as a number.

    One without an offset is UTC, as AWS means it; digits after the microseconds are cut.
    Raises: ValueError for everything else, so that an answer with it is unreadable rather than wrong.
    """
    try:
        if isinstance(value, str):
            if len(value) > 10 and value[10] in "Tt":
                moment = datetime.fromisoformat(value)
            else:
                moment = parsedate_to_datetime(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError, IndexError) as error:
        raise ValueError(f"not a timestamp: {str(value)[:80]!r}") from error
    raise ValueError(f"not a timestamp: {str(value)[:80]!r}")
