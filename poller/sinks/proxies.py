"""Which proxy a request goes through: the one that the sink names, else that of HTTP_PROXY, HTTPS_PROXY, NO_PROXY."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.request import getproxies_environment, proxy_bypass

from yarl import URL

AUTHORIZATION: Final = "Proxy-Authorization"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the credentials that it is to be shown (`Proxy-Authorization`)."""

    url: URL
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def named(cls, text: str, user: str | None = None, password: str | None = None) -> "Proxy":
        """A proxy as one writes it: with or without scheme; user and password may stand in it."""
        url = URL(text if "://" in text else f"http://{text}")
        user, password = user or url.user, password or url.password
        known = None if user is None else "Basic " + b64encode(f"{user}:{password or ''}".encode()).decode()
        return cls(url.with_user(None), known)


def environment_proxies() -> Mapping[str, str]:
    """The proxies that the environment names, by the scheme of the address that is asked for."""
    return getproxies_environment()


def proxy_in(proxies: Mapping[str, str], scheme: str, host: str | None) -> Proxy | None:
    """The one of `proxies` that leads to a host; None if NO_PROXY, or nobody, has one for it."""
    text = proxies.get(scheme)
    return Proxy.named(text) if text and host is not None and not proxy_bypass(host) else None
