"""Certificates that a configuration names: looked for beside it; what is wrong with them is said by line and key."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from poller.core.errors import ConfigError
from poller.settings.load import Loaded, load_settings
from poller.settings.sinks import sink_warnings
from tests.unit.sinks.authority import Authority

NOW = datetime.now(UTC)
SINK = '[[sinks]]\nname = "lims"\ntype = "webhook"\nurl = "https://lims.example.org/"\n'
FILES = 'client_certificate = "tls/poller.crt"\nclient_key = "tls/poller.key"\nca_file = "tls/ca.pem"\n'


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    directory = tmp_path / "tls"
    directory.mkdir()
    authority = Authority(directory)
    authority.issue("poller")
    return authority


def load(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_settings(path, {})


def test_paths_are_relative_to_the_configuration(
    ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    loaded = load(tmp_path, SINK + FILES)
    assert sink_warnings(loaded.settings.sinks, loaded.directory, NOW) == []


@pytest.mark.parametrize(
    ("spoil", "line", "key", "says"),
    [
        (lambda ca: (ca.directory / "poller.crt").unlink(), 5, "client_certificate", "tls/poller.crt cannot be read"),
        (lambda ca: (ca.directory / "poller.key").unlink(), 6, "client_key", "tls/poller.key cannot be read: No such"),
        (lambda ca: ca.ca_file.write_text("none"), 7, "ca_file", "tls/ca.pem holds no certificate"),
        (lambda ca: ca.issue("other")[1].rename(ca.directory / "poller.key"), 6, "client_key", "is not the key of"),
        (lambda ca: ca.issue("poller", password="pw"), 6, "client_key", "is encrypted: set client_key_password"),
    ],
)
def test_a_file_that_cannot_be_used_is_said_by_line_and_key(
    spoil: Callable[[Authority], object], line: int, key: str, says: str, ca: Authority, tmp_path: Path
) -> None:
    spoil(ca)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, SINK + FILES)
    (said,) = str(caught.value).splitlines()
    assert said.startswith(f'{tmp_path}/config.toml:{line} [[sinks]] "lims" {key}: ')
    assert says in said


def test_a_wrong_password_is_said_and_not_shown(ca: Authority, tmp_path: Path) -> None:
    ca.issue("poller", password="pw-right")
    with pytest.raises(
        ConfigError, match=r':8 \[\[sinks\]\] "lims" client_key_password: does not open the key$'
    ) as caught:
        load(tmp_path, SINK + FILES + 'client_key_password = "pw-wrong"\n')
    assert "pw-wrong" not in str(caught.value)


def test_a_certificate_that_has_expired_is_a_warning(ca: Authority, tmp_path: Path) -> None:
    ca.issue("poller", begins=NOW - timedelta(days=9), ends=NOW - timedelta(days=2))
    loaded = load(tmp_path, SINK + FILES)
    (doubt,) = sink_warnings(loaded.settings.sinks, loaded.directory, NOW)
    assert doubt.sentence.startswith(f'[[sinks]] "lims" client_certificate: {tmp_path}/tls/poller.crt expired on ')


def test_secrets_of_sinks_that_come_as_settings_are_known_too() -> None:
    from poller.redaction import redact
    from poller.settings.load import settings_from
    from poller.sinks.webhook import WebhookSettings

    secrets = ["whsec_bmV3LXNlY3JldC1vZi1vdXJz", "whsec_b2xkLXNlY3JldC1vZi1vdXJz"]
    sink = WebhookSettings.model_validate(
        {"name": "a", "type": "webhook", "url": "https://b", "secret": secrets, "headers": {"A": "header-5f0c"}}
    )
    settings_from({"sinks": [sink]})
    said = redact(f"{secrets[0].removeprefix('whsec_')} {secrets[1].removeprefix('whsec_')} header-5f0c")
    assert said == "[hidden] [hidden] [hidden]"
