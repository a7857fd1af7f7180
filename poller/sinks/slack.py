"""Slack: a message for each event, by an incoming webhook, or by a bot that keeps what belongs together in one thread.

Slack knows no message twice, so what is sent again is there again. What its errors mean: docs.slack.dev, "Sending
messages using incoming webhooks" and "chat.postMessage".
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from pydantic import AfterValidator, Field, model_validator

from poller.core.errors import Rejected, Retry
from poller.core.events import Event
from poller.core.excerpts import MASK
from poller.core.values import LEFT_OUT_FOR_MANY, OmittableField, Secret, SinkSettings
from poller.ports.sinks import Preview, Toolbox
from poller.sinks.answers import CROWDED, retry_after, whole
from poller.sinks.shown import hidden_texts, shown
from poller.sinks.slack_blocks import payload_of, root_payload
from poller.sinks.slack_threads import COHORT, TAGS, Threads, thread_of

ANSWER_LIMIT: Final = 256 * 1024
"""Bytes of an answer that are read: chat.postMessage repeats the message."""
POISON: Final = frozenset(
    {
        "invalid_payload", "invalid_blocks", "invalid_blocks_format", "invalid_attachments", "too_many_attachments",
        "no_text", "missing_text_or_fallback_or_attachments", "msg_too_long", "msg_blocks_too_long",
        "invalid_metadata_format", "invalid_metadata_schema", "metadata_too_large",
    }
)  # fmt: skip
"""Words of Slack about this one message. All others are about the channel, the token or the moment."""
NO_ROOT: Final = frozenset(
    {"thread_not_found", "invalid_thread_ts", "message_not_found", "cannot_reply_to_message", "thread_locked"}
)
"""Words for a first message that is gone or takes no replies: the thread begins anew."""
TOO_MUCH: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})
HINTS: Final[Mapping[str, str]] = {
    "no_service": "the webhook was removed: make a new one",
    "no_active_hooks": "the webhook was switched off",
    "channel_is_archived": "take the channel out of the archive, or choose another one",
    "is_archived": "take the channel out of the archive, or choose another one",
    "channel_not_found": "there is no such channel, or the app is not in it: /invite it",
    "not_in_channel": "the app is not in the channel: /invite it",
    "invalid_auth": "the token is not valid",
    "missing_scope": "the app needs the scope chat:write",
}
_THREAD_BY: Final = r"^(none|cohort|batch_id|run_group_id|workflow_id|run_id|tags\..+)$"


def _url(url: Secret) -> Secret:
    if not re.fullmatch(r"https?://[^\s/@?#]+/\S*", url.get_secret_value()):
        raise ValueError("expected the address of an incoming webhook, which begins with https://")
    return url


def _token(token: Secret) -> Secret:
    if not token.get_secret_value().isprintable() or not token.get_secret_value().startswith("xox"):
        raise ValueError("expected the token of a bot, which begins with xoxb-")
    return token


class SlackSettings(SinkSettings, hide_input_in_errors=True):
    """`type = "slack"`."""

    omit: tuple[OmittableField, ...] = Field(LEFT_OUT_FOR_MANY, description="Fields that are left out of the messages.")
    concurrency: int = Field(1, ge=1, le=1000, description="Most sends under way at once; Slack takes one a second.")
    url: Annotated[Secret, AfterValidator(_url)] | None = Field(
        None, description="Incoming webhook to post to, a secret; or give token and channel."
    )
    token: Annotated[Secret, AfterValidator(_token)] | None = Field(
        None, description="Token of a bot with the scope chat:write: keeps what belongs together in one thread."
    )
    channel: str | None = Field(None, min_length=1, description="Channel that the bot posts to: its id, or #name.")
    thread_by: str = Field(
        COHORT,
        pattern=_THREAD_BY,
        description="What events of a thread share: cohort (its [[cohort]], else its batch), batch_id, run_group_id,"
        " workflow_id, run_id, tags.NAME; or none.",
    )
    threads_file: Path | None = Field(
        None, description="Where the beginnings of threads are kept; without it NAME.threads.json beside this file."
    )
    api_url: str = Field(
        "https://slack.com/api/",
        pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?$",
        examples=["https://slack.com/api/"],
        description="Another address of Slack's API.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "SlackSettings":
        if (self.url is None) == (self.token is None):
            raise ValueError("give either url, an incoming webhook, or token and channel, a bot")
        if self.token is not None and self.channel is None:
            raise ValueError("token needs a channel to post to")
        of_a_bot = sorted({"channel", "thread_by", "threads_file", "api_url"} & self.model_fields_set)
        if self.url is not None and of_a_bot:
            raise ValueError(f"{of_a_bot[0]} is for a bot's token; an incoming webhook has a channel and no threads")
        if self.thread_by.startswith(TAGS) and "tags" in self.omit:
            raise ValueError('thread_by needs the tags, which are left out: write omit = ["status_message"]')
        return self


class _Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: str | None


class SlackSink:
    """Posts a message for each event; one that Slack calls malformed or too long is rejected, all else tried again."""

    settings_model = SlackSettings

    def __init__(self, settings: SlackSettings, tools: Toolbox) -> None:
        self.settings = settings
        self._tools = tools
        self._url = settings.url.get_secret_value() if settings.url is not None else ""
        token = settings.token.get_secret_value() if settings.token is not None else ""
        self._headers = {"content-type": "application/json; charset=utf-8"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._api = settings.api_url.rstrip("/")
        self._host = urlsplit(self._url or settings.api_url).netloc
        self._hidden = hidden_texts((self._url, urlsplit(self._url).path.strip("/"), token))
        file = settings.threads_file or Path(f"{settings.name}.threads.json")
        self._threads = Threads(tools.directory / file.expanduser(), settings.channel or "")

    async def send(self, events: Sequence[Event]) -> None:
        """Post a message for each event. Raises: Rejected for a message that Slack will never take, Retry otherwise."""
        for event in events:
            if self.settings.token is None:
                await self._post_to_webhook(payload_of(event))
            else:
                await self._post_to_channel(event)

    def preview(self, event: Event) -> Preview:
        """What would be posted, and in which thread."""
        if self.settings.token is None:
            return Preview(f"POST {urlsplit(self._url).scheme}://{self._host}/{MASK}", {}, _json(payload_of(event)))
        words = self._thread_of(event)
        to = f"POST {self._api}/chat.postMessage"
        return Preview(to, {"thread": words} if words is not None else {}, _json(self._message(event, words)))

    async def probe(self) -> str | None:
        """Whether the token is good; of a webhook only whether Slack answers, since all else would send something."""
        if self.settings.token is not None:
            await self._call("auth.test", {})
            return None
        parts = urlsplit(self._url)
        await self._request("GET", f"{parts.scheme}://{parts.netloc}/", None)
        return f"{self._host} answers; whether the webhook is good only a message shows"

    async def _post_to_webhook(self, payload: Mapping[str, Any]) -> None:
        answer = await self._request("POST", self._url, payload)
        if not 200 <= answer.status < 300:
            raise self._failure(answer, answer.body.decode(errors="replace").strip())

    async def _post_to_channel(self, event: Event) -> None:
        words = self._thread_of(event)
        payload = self._message(event, words)
        if words is None:
            await self._call("chat.postMessage", payload)
            return
        root, is_new = await self._root_of(words)
        try:
            await self._call("chat.postMessage", {**payload, "thread_ts": root})
        except _NoRoot:
            if is_new:
                raise
            self._threads.forget(words, root)
            root, _ = await self._root_of(words)
            await self._call("chat.postMessage", {**payload, "thread_ts": root})

    def _thread_of(self, event: Event) -> str | None:
        return None if self.settings.thread_by == "none" else thread_of(event, self.settings.thread_by)

    def _message(self, event: Event, words: str | None) -> dict[str, Any]:
        """What chat.postMessage is told, but for the first message of the thread."""
        message = {
            **payload_of(event),
            "channel": self.settings.channel,
            "unfurl_links": False,
            "metadata": _metadata("healthomics_event", id=event.id, type=event.type, replay_id=event.replay),
        }
        if words is not None and (
            event.kind == "cohort.finished" or (event.kind.startswith("batch.") and event.terminal)
        ):
            message["reply_broadcast"] = True  # how it ended is seen by those who do not open the thread, too
        return message

    async def _root_of(self, words: str) -> tuple[str, bool]:
        """The first message of a thread, posted if there is none yet, and whether it was."""
        async with self._threads.one_at_a_time:
            if (root := await self._threads.root(words)) is not None:
                return root, False
            payload = {
                **root_payload(words),
                "channel": self.settings.channel,
                "metadata": _metadata("healthomics_thread", words=words),
            }
            root = str((await self._call("chat.postMessage", payload))["ts"])
            await self._threads.begun(words, root)
            return root, True

    async def _call(self, method: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call a method of Slack's Web API, which says in the body how it went. Raises: Retry, Rejected."""
        answer = await self._request("POST", f"{self._api}/{method}", payload)
        try:
            said = json.loads(answer.body)
        except ValueError:
            said = None
        if isinstance(said, dict) and said.get("ok") is True and 200 <= answer.status < 300:
            return said
        word = said.get("error") if isinstance(said, dict) else None
        raise self._failure(answer, str(word) if word else answer.body.decode(errors="replace"))

    async def _request(self, method: str, url: str, payload: Mapping[str, Any] | None) -> _Answer:
        session: aiohttp.ClientSession = await self._tools.http()
        data = None if payload is None else _json(payload)
        headers = self._headers if payload is not None else {}
        try:
            async with session.request(method, url, data=data, headers=headers, allow_redirects=False) as answer:
                body = await whole(answer, ANSWER_LIMIT)
                return _Answer(answer.status, body, answer.headers.get("Retry-After"))
        except aiohttp.ClientError as error:
            problem = shown(getattr(error, "message", "") or str(error), self._hidden)
            failed = f"{self._host}: {type(error).__name__}: {problem}"
        raise Retry(failed)  # out of the handler: the error above shows the token in its headers, and is not chained

    def _failure(self, answer: _Answer, said: str) -> Retry | Rejected:
        """What an answer other than yes means; `said` is Slack's word for it, or the beginning of a page."""
        hint = f" ({HINTS[said]})" if said in HINTS else ""
        text = f"{self._host} answered {answer.status}: {shown(said, self._hidden)}{hint}".rstrip(": ")
        if said in POISON or answer.status == 413:
            return Rejected(text)
        kind = _NoRoot if said in NO_ROOT else Retry
        after = retry_after(answer.retry_after, self._tools.clock.now())
        return kind(text, after=after, crowded=answer.status in CROWDED or said in TOO_MUCH)


class _NoRoot(Retry):
    """The first message of the thread is gone."""


def _json(payload: Mapping[str, Any]) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()


def _metadata(event_type: str, **payload: str | None) -> dict[str, Any]:
    """What programs see of a message: by the event's id they know one that they had already."""
    return {"event_type": event_type, "event_payload": {name: value for name, value in payload.items() if value}}
