"""Two sink types of our own, so that these tests say what the configuration does and not what the sinks do."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from pydantic import Field, model_validator

from poller.core.errors import ConfigError
from poller.core.values import Secret, SinkSettings
from poller.settings.checks import warnings
from poller.settings.load import Loaded, load_settings
from poller.settings.model import Settings
from poller.settings.texts import HttpUrl

Load = Callable[..., Loaded]


def warned(settings: Settings) -> list[str]:
    """What is doubtful of settings, in words."""
    return [doubt.sentence for doubt in warnings(settings)]


class PostSettings(SinkSettings):
    """A sink with secrets, and with a rule that says too much when it is broken."""

    url: HttpUrl = Field(description="Where events are posted.")
    secret: Secret | None = Field(None, description="What to sign with.")
    headers: dict[str, Secret] = Field({}, description="Headers to add.")
    ports: tuple[int, ...] = Field((), max_length=2, description="Ports to try.")
    ratio: float | None = Field(None, ge=0, lt=1, description="How much of it.")
    verify: bool = Field(True, description="Whether to verify.")

    @model_validator(mode="after")
    def _no_bad_secret(self) -> "PostSettings":
        if self.secret is not None and self.secret.get_secret_value().startswith("bad"):
            raise ValueError(f"the secret {self.secret.get_secret_value()} is bad")
        return self


class TopicSettings(SinkSettings):
    """A sink with a pattern."""

    topic_arn: str = Field(pattern=r"^arn:aws:sns:", description="Topic to publish to.")


class Catalogue:
    """What `poller.sinks.registry` is to the loader."""

    models: Final[Mapping[str, type[SinkSettings]]] = {"post": PostSettings, "topic": TopicSettings}

    def sink_types(self) -> list[str]:
        return [*self.models, "broken"]

    def load_sink(self, name: str, /) -> Any:
        if name == "broken":
            raise ConfigError('the sink type "broken" of elsewhere does not load: No module named nowhere')
        return SimpleNamespace(settings_model=self.models[name])


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue()


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalogue: Catalogue) -> Load:
    """Write a text as config.toml and load it, from the directory in which it lies."""
    monkeypatch.chdir(tmp_path)

    def write_and_load(text: str | bytes, environ: Mapping[str, str] | None = None) -> Loaded:
        content = text.encode() if isinstance(text, str) else text
        Path("config.toml").write_bytes(content)
        return load_settings(Path("config.toml"), environ or {}, catalogue=catalogue)

    return write_and_load
