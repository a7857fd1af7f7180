"""A signed HTTP POST for each event, after the Standard Webhooks specification (github.com/standard-webhooks).

The signature is made anew for every attempt, since receivers refuse one that is older than minutes; `webhook-id` is the
event's id, the same at every attempt, for receivers that drop what they had already.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
import anyio
from anyio.abc import ByteStream
from pydantic import AfterValidator, Field

from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.core.values import Secret, SinkSettings
from poller.ports import Toolbox
from poller.sinks.answers import CROWDED, drain, retry_after
from poller.sinks.shown import hidden_texts, shown
from poller.version import __version__

CONTENT_TYPE: Final = "application/cloudevents+json"
POISON: Final = frozenset({400, 410, 413, 422})
"""Statuses that no retry mends: the far end has read this event and will not have it (DESIGN 9)."""
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # says that a secret follows

_OURS: Final = frozenset({"content-type", "content-length", "transfer-encoding", "connection", "replay-id"})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _url(text: str) -> str:
    if not text.isprintable() or " " in text:
        raise ValueError("an address holds no spaces and no control characters")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("not an address: its host or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError("expected an address such as https://lims.example.org/hooks")
    if "@" in parts.netloc:
        raise ValueError(
            "no user or password in the address: write headers = { Authorization = "
            '"Basic ${…}" } instead, so that no log shows it'
        )
    return text


def _key(secret: str) -> bytes:
    """The bytes to sign with: what follows whsec_ as base64, padded or not."""
    encoded = secret.removeprefix(SECRET_PREFIX)
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)


def _secret(secret: Secret) -> Secret:
    text = secret.get_secret_value()
    if not text.startswith(SECRET_PREFIX):
        raise ValueError(f"a signing secret begins with {SECRET_PREFIX}, and this one does not")
    try:
        key = _key(text)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError(f"what follows {SECRET_PREFIX} in a signing secret is base64, and this is not")
    return secret


def _headers(headers: dict[str, Secret]) -> dict[str, Secret]:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError("a header's name holds letters, digits and dashes")
        if name.lower() in _OURS or name.lower().startswith("webhook-"):
            raise ValueError(f"the header {name} is set by the sink itself")
        if not value.get_secret_value().isprintable():
            raise ValueError(f"the value of the header {name} holds a line break or another control character")
    return headers


class WebhookSettings(SinkSettings, hide_input_in_errors=True):
    """`type = "webhook"`."""

    url: Annotated[str, AfterValidator(_url)] = Field(description="Where to POST, http or https; no redirects.")
    secret: Annotated[Secret, AfterValidator(_secret)] | None = Field(
        None, description="Standard Webhooks secret, whsec_ and base64, to sign with; unsigned without it."
    )
    headers: Annotated[dict[str, Secret], AfterValidator(_headers)] = Field(
        {}, description="Headers to add, such as Authorization; their values are secrets."
    )


class WebhookSink:
    """POSTs `event.body`; 2xx acknowledges, 400, 410, 413 and 422 reject, everything else is tried again."""

    settings_model = WebhookSettings

    def __init__(self, settings: WebhookSettings, tools: Toolbox) -> None:
        self.settings = settings
        self._tools = tools
        self._keyed = (
            hmac.new(_key(settings.secret.get_secret_value()), digestmod="sha256") if settings.secret else None
        )
        self._host = urlsplit(settings.url).netloc
        self._headers = {
            "user-agent": f"healthomics-poller/{__version__}",
            **{name: value.get_secret_value() for name, value in settings.headers.items()},
            "content-type": CONTENT_TYPE,
        }
        self._hidden = _hidden_texts(settings)

    async def send(self, events: Sequence[Event]) -> None:
        """POST each event; see the class for what its answer means. An answer's `Retry-After` is obeyed."""
        session: aiohttp.ClientSession = await self._tools.http()
        for event in events:
            try:
                async with session.post(
                    self.settings.url, data=event.body, headers=self._signed(event), allow_redirects=False
                ) as answer:
                    if 200 <= answer.status < 300:
                        await drain(answer)
                    else:
                        raise self._failure(answer, await drain(answer))
            except aiohttp.ClientError as error:
                problem = shown(getattr(error, "message", "") or str(error), self._hidden)
                failed = f"{self._host}: {type(error).__name__}: {problem}"
            else:
                continue
            # out of the handler, so that the error above, whose repr shows the headers sent, is not chained
            raise Retry(failed)

    async def probe(self) -> str | None:
        """Connect to the host, TLS included, and send nothing. Says so if a proxy is in the way of that.

        Raises: OSError, or what anyio makes of it, if there is no connection to be had.
        """
        parts = urlsplit(self.settings.url)
        host = parts.hostname or ""
        if getproxies_environment().get(parts.scheme) and not proxy_bypass(host):
            return f"{self._host} is reached through a proxy: not tried"
        with anyio.fail_after(self.settings.timeout.total_seconds()):
            if parts.scheme == "https":
                stream: ByteStream = await anyio.connect_tcp(host, parts.port or 443, tls_hostname=host)
            else:
                stream = await anyio.connect_tcp(host, parts.port or 80)
            await anyio.aclose_forcefully(stream)
        return None

    def _signed(self, event: Event) -> dict[str, str]:
        headers = {**self._headers, "webhook-id": event.id}
        if event.replay is not None:
            headers["replay-id"] = event.replay
        at = headers["webhook-timestamp"] = str(int(self._tools.clock.now().timestamp()))
        if self._keyed is not None:
            signing = self._keyed.copy()  # a key that is set up once: half of what a signature costs
            signing.update(b"%b.%b.%b" % (event.id.encode(), at.encode(), event.body))
            headers["webhook-signature"] = "v1," + base64.b64encode(signing.digest()).decode()
        return headers

    def _failure(self, answer: aiohttp.ClientResponse, body: bytes) -> Retry | Rejected:
        """What an answer other than 2xx means, told with the beginning of what it says."""
        if 300 <= answer.status < 400:
            target = answer.headers.get("Location", "").partition("?")[0]
            said = f"redirects to {target or 'nowhere'}, which is not followed: put the final address into url"
        else:
            said = body.decode(errors="replace")
        text = f"{self._host} answered {answer.status}: {shown(said, self._hidden)}".rstrip(": ")
        if answer.status in POISON:
            return Rejected(text)
        after = retry_after(answer.headers.get("Retry-After"), self._tools.clock.now())
        return Retry(text, after=after, crowded=answer.status in CROWDED)


def _hidden_texts(settings: WebhookSettings) -> tuple[str, ...]:
    """Everything secret in the settings, as it could be echoed: whole, or without its scheme."""
    texts: set[str] = set()
    if settings.secret is not None:
        whole = settings.secret.get_secret_value()
        texts |= {whole, whole.removeprefix(SECRET_PREFIX)}
    for value in settings.headers.values():
        texts |= {value.get_secret_value(), value.get_secret_value().partition(" ")[2]}
    query: Any = urlsplit(settings.url).query
    texts.add(query)
    return hidden_texts(texts)
