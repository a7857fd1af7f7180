"""Events as documents in OpenSearch or Elasticsearch: each under its own id, a batch in one request.

An event that is sent again is the same document, so nothing is kept twice. Source: the bulk API, which OpenSearch 2 and
Elasticsearch 8 have in common.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel, Field, SecretStr, ValidationError

from poller import Event, Partial, Rejected, Retry, SinkSettings, Toolbox
from poller.ports.sinks import Preview
from poller.sinks.answers import retry_after

CROWDED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Statuses of a cluster that has too much to do: fewer sends at once."""


class OpenSearchSettings(SinkSettings, hide_input_in_errors=True):
    """`type = "opensearch"`."""

    url: str = Field(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        description="Address of the cluster, such as https://search.example.org:9200, without user and password.",
    )
    index: str = Field(
        "healthomics-events",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,254}$",
        description="Index that the events are kept in, or an alias of it.",
    )
    user: str | None = Field(None, pattern=r"^[^:\s]+$", description="User to ask as.")
    password: SecretStr | None = Field(None, description="Password of that user.")

    def problems(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """What keys that are right one by one get wrong together: the key, and a sentence about it."""
        if self.user is not None and self.password is None:
            yield ("user",), "needs a password; set that too, or take this out"
        if self.password is not None and self.user is None:
            yield ("password",), "needs a user; set that too, or take this out"


class OpenSearchSink:
    """Keeps each event as a document; what is there already is acknowledged, what does not fit the index rejected."""

    settings_model = OpenSearchSettings
    batch_size = 100

    def __init__(self, settings: OpenSearchSettings, tools: Toolbox) -> None:
        self._tools = tools
        self._host = urlsplit(settings.url).netloc
        self._index = settings.index
        self._index_url = f"{settings.url.rstrip('/')}/{settings.index}"
        self._login: dict[str, str] = {}
        if settings.user is not None and settings.password is not None:
            login = f"{settings.user}:{settings.password.get_secret_value()}".encode()
            self._login = {"Authorization": f"Basic {b64encode(login).decode()}"}

    async def send(self, events: Sequence[Event]) -> None:
        """Keep the events, in one request.

        Raises: Partial if some were not kept; Retry or Rejected if none was; what aiohttp raises.
        """
        http: aiohttp.ClientSession = await self._tools.http()
        headers = self._login | {"Content-Type": "application/x-ndjson"}
        async with http.post(
            f"{self._index_url}/_bulk", data=_bulk_of(events), headers=headers, allow_redirects=False
        ) as answer:
            if answer.status != HTTPStatus.OK:
                raise self._failure(answer)
            items = self._items(await answer.read(), len(events))
        told = zip(events, items, strict=True)
        if failures := {event.id: failure for event, item in told if (failure := item.failure()) is not None}:
            raise Partial(failures)

    async def probe(self) -> str | None:
        """Ask for the index, and say so if there is none. Raises: Retry; what aiohttp raises."""
        http: aiohttp.ClientSession = await self._tools.http()
        async with http.head(self._index_url, headers=self._login, allow_redirects=False) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                return f"there is no index {self._index} yet; the first event makes it, where the cluster allows that"
            if answer.status != HTTPStatus.OK:
                raise self._failure(answer)
        return None

    def preview(self, event: Event) -> Preview:
        """The request as it would be made for this event alone, without its secrets."""
        headers = {"Content-Type": "application/x-ndjson"} | dict.fromkeys(self._login, "[hidden]")
        return Preview(f"POST {self._index_url}/_bulk", headers, _bulk_of([event]))

    def _failure(self, answer: aiohttp.ClientResponse) -> Retry | Rejected:
        """What an answer to all of a request means. Of its text nothing is shown: who knows what is in it."""
        text = f"{self._host} answered {answer.status} {answer.reason}"
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return Rejected(text)  # of a batch: each event is sent by itself then
        after = retry_after(answer.headers.get("Retry-After"), self._tools.clock.now())
        return Retry(text, after=after, crowded=answer.status in CROWDED)

    def _items(self, body: bytes, count: int) -> "list[_Item]":
        """What is said of each of the documents. Raises: Retry if this is no answer of a cluster, to so many."""
        try:
            items = [item["create"] for item in _Answer.model_validate_json(body).items]
        except ValidationError:
            items = []
        if len(items) != count:
            raise Retry(f"{self._host} answered 200, but not as a cluster answers; is url right?")
        return items


def _bulk_of(events: Sequence[Event]) -> bytes:
    """The body of a bulk request: two lines for each event, what to do, and the event as it is on record."""
    return b"".join(b'{"create":{"_id":%s}}\n%s\n' % (json.dumps(event.id).encode(), event.body) for event in events)


class _Error(BaseModel):
    type: str
    reason: str | None = None


class _Item(BaseModel):
    """What a cluster says of one document."""

    status: int
    error: _Error | None = None

    def failure(self) -> Retry | Rejected | None:
        """Why it is not kept; None if it is."""
        if 200 <= self.status < 300 or self.status == HTTPStatus.CONFLICT:  # from an attempt whose answer was lost
            return None
        said = f" {self.error.type}: {self.error.reason}" if self.error is not None else ""
        if self.status == HTTPStatus.BAD_REQUEST:
            return Rejected(f"{self.status}{said}")
        return Retry(f"{self.status}{said}", crowded=self.status in CROWDED)


class _Answer(BaseModel):
    items: list[dict[Literal["create"], _Item]]
