"""A signed HTTP POST for each event, after the Standard Webhooks specification (github.com/standard-webhooks).

The signature is made anew for every attempt, since receivers refuse one that is older than minutes; `webhook-id` is the
event's id, the same at every attempt, for receivers that drop what they had already.
"""

import base64
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import aiohttp
from pydantic import AfterValidator, Field

from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.core.excerpts import MASK
from poller.core.values import Secret
from poller.ports.sinks import Preview, Toolbox
from poller.sinks.addresses import literal, refusal
from poller.sinks.answers import CROWDED, drain, retry_after
from poller.sinks.connections import Connection, ConnectionSettings
from poller.sinks.formats import HttpFormattedSettings, KeyProblem, Rendered, formatter, header_problem
from poller.sinks.shown import hidden_texts, shown
from poller.sinks.signing import PREFIX, Secrets, Signer
from poller.version import __version__

POISON: Final = frozenset({400, 410, 413, 422})
"""Statuses that no retry mends: the far end has read this event and will not have it (DESIGN 9)."""


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
            "no user or password in the address: give the header Authorization in `headers` instead, so that no log "
            "shows it"
        )
    if (address := literal(host)) is not None and (why := refusal(address)) is not None:
        raise ValueError(why)
    return text


def _headers(headers: dict[str, Secret]) -> dict[str, Secret]:
    for name, value in headers.items():
        if (problem := header_problem(name)) is not None:
            raise ValueError(problem)
        if not value.get_secret_value().isprintable():
            raise ValueError(f"the value of the header {name} holds a line break or another control character")
    return headers


class WebhookSettings(ConnectionSettings, HttpFormattedSettings, hide_input_in_errors=True):
    """`type = "webhook"`."""

    url: Annotated[str, AfterValidator(_url)] = Field(description="Where to POST, http or https; no redirects.")
    secret: Secrets | None = Field(
        None,
        description="Standard Webhooks secret, whsec_ and base64, to sign with, or a list; unsigned without it.",
    )
    headers: Annotated[dict[str, Secret], AfterValidator(_headers)] = Field(
        {}, description="Headers to add, such as Authorization; their values are secrets."
    )

    def problems(self) -> Iterator[KeyProblem]:
        """As of all formats, and headers that are given twice."""
        yield from super().problems()
        fixed = {name.lower() for name in self.headers}
        for name in self.template_headers:
            if name.lower() in fixed:
                yield ("template_headers", name), "headers has this one, too; take one of them out"

    def warnings(self, directory: Path, now: datetime) -> list[str]:
        """Of its certificates, and of its format."""
        return [
            *ConnectionSettings.warnings(self, directory, now),
            *HttpFormattedSettings.warnings(self, directory, now),
        ]

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super()._contradictions()
        parts = urlsplit(self.url)
        if parts.scheme == "http":
            for key in ("client_certificate", "ca_file"):
                if getattr(self, key) is not None:
                    yield key, "is of use with https only, and url begins with http://"
        address = literal(parts.hostname or "")
        if address is not None and (why := refusal(address, allow_private=self.allow_private)) is not None:
            yield "url", why


class WebhookSink:
    """POSTs each event; 2xx acknowledges, 400, 410, 413 and 422 reject, everything else is tried again."""

    settings_model = WebhookSettings

    def __init__(self, settings: WebhookSettings, tools: Toolbox) -> None:
        self.settings = settings
        self._tools = tools
        self._format = formatter(settings)
        self._connection = Connection(settings, settings.url, tools)
        self._signer = Signer(settings.secret or ())
        self._host = urlsplit(settings.url).netloc
        self._headers = {
            "user-agent": f"healthomics-poller/{__version__}",
            **self._connection.headers,
            **{name: value.get_secret_value() for name, value in settings.headers.items()},
        }
        self._hidden = _hidden_texts(settings)

    async def send(self, events: Sequence[Event]) -> None:
        """POST each event; see the class for what its answer means. An answer's `Retry-After` is obeyed."""
        session = await self._connection.session()
        for event in events:
            rendered = self._format.body(event)
            headers, options = self._signed(event, rendered), self._connection.options()
            try:
                async with session.post(
                    self.settings.url,
                    data=rendered.body,
                    headers=headers,
                    allow_redirects=False,
                    **options,
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
        """Connect to the host, TLS included, and send nothing; see `Connection.probe`."""
        return await self._connection.probe()

    def preview(self, event: Event) -> Preview:
        """The request as it would be made, without its secrets."""
        rendered = self._format.body(event)
        headers = self._signed(event, rendered)
        headers |= dict.fromkeys([*self._connection.headers, *self.settings.headers], MASK)
        headers["webhook-timestamp"] = "<the time of the attempt>"
        if "webhook-signature" in headers:
            headers["webhook-signature"] = " ".join("v1,<made at each attempt>" for _ in self.settings.secret or ())
        parts = urlsplit(self.settings.url)
        address = parts._replace(query=MASK if parts.query else "").geturl()
        return Preview(f"POST {address}", headers, rendered.body)

    def _signed(self, event: Event, rendered: Rendered) -> dict[str, str]:
        at = int(self._tools.clock.now().timestamp())
        signed = self._signer.headers(event.id, at, rendered.body)
        headers = {**self._headers, **rendered.headers, "content-type": rendered.content_type, **signed}
        return headers if event.replay is None else headers | {"replay-id": event.replay}

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
    for secret in settings.secret or ():
        whole = secret.get_secret_value()
        texts |= {whole, whole.removeprefix(PREFIX)}
    if settings.proxy_password is not None:
        password = settings.proxy_password.get_secret_value()
        texts |= {password, base64.b64encode(f"{settings.proxy_user}:{password}".encode()).decode()}
    for value in settings.headers.values():
        texts |= {value.get_secret_value(), value.get_secret_value().partition(" ")[2]}
    query: Any = urlsplit(settings.url).query
    texts.add(query)
    return hidden_texts(texts)
