"""A sink that PUTs each event to `<url>/<event id>.json`: WebDAV, or an object store. Twice sent is once stored."""

from collections.abc import Sequence

from pydantic import Field, SecretStr

from poller import Event, Rejected, Retry, SinkSettings, Toolbox


class PutSettings(SinkSettings, hide_input_in_errors=True):
    """`type = "put"`."""

    url: str = Field(pattern=r"^https?://\S+$", description="The collection that the events are put into.")
    token: SecretStr | None = Field(None, description="Bearer token.")


class PutSink:
    settings_model = PutSettings

    def __init__(self, settings: PutSettings, tools: Toolbox) -> None:
        self.settings, self.tools = settings, tools

    async def send(self, events: Sequence[Event]) -> None:
        http = await self.tools.http()
        headers = {"Content-Type": "application/cloudevents+json"}
        if self.settings.token is not None:
            headers["Authorization"] = f"Bearer {self.settings.token.get_secret_value()}"
        for event in events:
            url = f"{self.settings.url.rstrip('/')}/{event.id}.json"
            async with http.put(url, data=event.body, headers=headers, allow_redirects=False) as answer:
                if answer.status in (400, 413, 422):
                    raise Rejected(f"{answer.status} {answer.reason}")  # never: to the dead letters
                if answer.status >= 300:
                    raise Retry(f"{answer.status} {answer.reason}")  # later: so does any other exception
