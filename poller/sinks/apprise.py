"""Apprise: a message in words for each event, to Teams, a mailbox, and more than a hundred other services.

The package `apprise` is optional (the extra [apprise]), and is imported only for who names this sink. It says that a
message was taken or not, and never that it will not be: everything else than taken is tried again.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field

from poller.core.errors import Retry
from poller.core.events import Event
from poller.core.values import LEFT_OUT_FOR_MANY, OmittableField, Secret, SinkSettings
from poller.ports.sinks import Preview, Toolbox
from poller.sinks.messages import Mood, message_of
from poller.sinks.shown import hidden_texts, shown

if TYPE_CHECKING:
    from apprise import Apprise, AppriseResult

_KIND: Final[dict[Mood, str]] = {"good": "success", "bad": "failure", "news": "info"}


def _urls(urls: tuple[Secret, ...]) -> tuple[Secret, ...]:
    for number, url in enumerate(urls, 1):
        try:
            services = _services([url])
        except ImportError:
            raise ValueError('needs the package apprise: pip install "healthomics-poller[apprise]"') from None
        if len(services) != 1:
            raise ValueError(
                f"number {number} is no address that Apprise can send to, such as mailto://… or msteams://…; "
                "https://appriseit.com/services/ lists them"
            )
    return urls


class AppriseSettings(SinkSettings, hide_input_in_errors=True):
    """`type = "apprise"`."""

    omit: tuple[OmittableField, ...] = Field(LEFT_OUT_FOR_MANY, description="Fields that are left out of the messages.")
    concurrency: int = Field(2, ge=1, le=1000, description="Most messages that are sent at once, each for another run.")
    urls: Annotated[tuple[Secret, ...], Field(min_length=1), AfterValidator(_urls)] = Field(
        description="Where to send, as Apprise writes it: mailto://…, msteams://…; secrets. One that fails repeats all."
    )


class AppriseSink:
    """Sends a message for each event to each address; if one of them does not take it, all are tried again."""

    settings_model = AppriseSettings

    def __init__(self, settings: AppriseSettings, tools: Toolbox) -> None:
        self.settings = settings
        self._services = _services(settings.urls)
        self._hidden = hidden_texts(part for url in settings.urls for part in _parts(url.get_secret_value()))

    async def send(self, events: Sequence[Event]) -> None:
        """Send a message for each event. Raises: Retry, with what Apprise says of the services that did not take it."""
        for event in events:
            message = message_of(event)
            result = await self._services.async_notify(
                title=message.title,
                body=message.body,
                notify_type=_KIND[message.mood],
                body_format="text",
                interpret_escapes=False,
                log_level=logging.WARNING,
            )
            if not result:
                raise Retry(self._failure(result))

    def preview(self, event: Event) -> Preview:
        """The message, and the services that would get it."""
        message = message_of(event)
        services = ", ".join(str(service.service_name) for service in self._services)
        return Preview(f"Apprise, to {services}", {"title": message.title}, message.body.encode())

    async def probe(self) -> str | None:
        """Nothing: Apprise can do nothing but send."""
        return "Apprise can only send, so nothing was tried"

    def _failure(self, result: "AppriseResult") -> str:
        failed = (
            f"{service.name}: {' '.join(entry.message for entry in service.logs()) or service.status.name.lower()}"
            for service in result
            if not service
        )
        return shown("; ".join(failed), self._hidden) or "Apprise did not send the message"


def _services(urls: Sequence[Secret]) -> "Apprise":
    """The services of these addresses, without those that Apprise does not know.  Raises: ImportError without it."""
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(app_id="healthomics-poller", app_desc="AWS HealthOmics runs", secure_logging=True)
    services = Apprise(asset=asset)
    for url in urls:
        services.add(url.get_secret_value())
    return services


def _parts(url: str) -> list[str]:
    """All that may be secret in an address: it whole, and each of its parts as it is written and as it is meant."""
    split = urlsplit(url)
    text = f"{split.netloc}/{split.path}/{split.query}/{split.fragment}"
    parts = [part for piece in text.split("/") for part in piece.replace("@", ":").replace("&", ":").split(":")]
    parts += [value for part in parts for value in part.split("=")]
    return [url, *(form for part in parts for form in (part, unquote(part)))]
