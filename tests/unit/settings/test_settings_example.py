"""The example, the starter and the schema: complete, accepted, and of one mind with the models."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from poller.settings.load import load_settings, settings_from
from poller.settings.model import LISTED, CohortSettings, Settings
from poller.settings.schema import config_schema
from poller.settings.sinks import installed_sinks, sink_model
from poller.settings.starter import starter_config
from poller.sinks.formats import FormattedSettings
from tests.unit.sinks.authority import Authority

from .conftest import Catalogue

ROOT: Final = Path(__file__).parents[3]
EXAMPLE: Final = ROOT / "config.example.toml"
BUILT_IN: Final = ("apprise", "callback", "eventbridge", "exec", "file", "slack", "sns", "sqs", "stdout", "webhook")
ENVIRON: Final = {
    "OMICS_POLLER_TOKEN": "a-token-of-ours",
    "LIMS_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T0/B0/x",
    "SLACK_BOT_TOKEN": "xoxb-0",
    "MAIL_PASSWORD": "a-password",
    "CLIENT_KEY_PASSWORD": "a-password-of-ours",
    "PROXY_PASSWORD": "another-password-of-ours",
}


def uncommented(text: str) -> str:
    """`#key = …` and `#[[sinks]]` are settings that are off; `# text` is text."""
    return re.sub(r"^#(?=[a-z\[])", "", text, flags=re.MULTILINE)


def keys_of_the_model() -> set[tuple[str, str]]:
    keys = set()
    for table in Settings.model_fields:
        value = getattr(Settings(), table)
        if table not in LISTED:
            keys |= {(table, key) for key in type(value[0] if isinstance(value, tuple) else value).model_fields}
    keys |= {("cohort", key) for key in CohortSettings.model_fields}
    for kind in BUILT_IN:
        keys |= {(kind, key) for key in sink_model(kind, installed_sinks()).model_fields}
    return keys


def keys_of(data: dict[str, Any]) -> set[tuple[str, str]]:
    tables = {(table, key) for table, keys in data.items() if table not in LISTED for key in keys}
    tables |= {("cohort", key) for cohort in data.get("cohort", ()) for key in cohort}
    return tables | {(sink["type"], key) for sink in data["sinks"] for key in sink}


def test_the_example_names_every_key_there_is() -> None:
    text = EXAMPLE.read_text()
    not_yet = {(table, key) for table in ("aws",) for key in re.findall(r"^# (\w+) = ", text, re.MULTILINE)}
    named = keys_of(tomllib.loads(uncommented(text))) | not_yet
    shared = {key for kind, key in named if kind == "stdout"}  # the first sink shows what all of them know
    named |= {(kind, key) for kind in BUILT_IN for key in shared}
    formatted = [kind for kind in BUILT_IN if issubclass(sink_model(kind, installed_sinks()), FormattedSettings)]
    named |= {(kind, key) for kind in formatted for key in ("format", "template", "template_file")}
    assert named == keys_of_the_model()


def test_the_example_is_accepted_with_nothing_set_and_is_the_defaults() -> None:
    loaded = load_settings(EXAMPLE, {})
    assert loaded.settings == settings_from({"sinks": [{"name": "console", "type": "stdout"}]})


def test_the_example_is_accepted_with_everything_on(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(uncommented(EXAMPLE.read_text()))
    (tmp_path / "lims-token").write_text("a-token-of-theirs\n")
    (tmp_path / "page.j2").write_text("{{ kind }}")
    authority = Authority(tmp_path, "authorities")
    authority.issue("poller", password=ENVIRON["CLIENT_KEY_PASSWORD"])
    settings = load_settings(path, ENVIRON).settings
    assert [sink.type for sink in settings.sinks] == [
        "stdout", "webhook", "sns", "sqs", "eventbridge", "slack", "slack", "apprise", "exec", "file", "webhook",
        "file", "callback",
    ]  # fmt: skip
    assert settings.aws[0].region == "us-east-1"


def test_every_setting_of_the_example_is_explained_on_its_line() -> None:
    for line in EXAMPLE.read_text().splitlines():
        if re.match(r"#?[a-z_]+ = ", line) and not re.match(r"#?(name|type) = ", line):
            assert re.search(r"\s# \w|\s# \"|\s# 0", line), line
        assert len(line) <= 132


def test_the_documentation_names_every_key() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for table, key in keys_of_the_model():
        assert f"`{key}`" in text, f"{table} {key}"
        assert f"`{table}`" in text or f"[{table}]" in text


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"region": "eu-west-1", "profile": "lab", "endpoint_url": "http://127.0.0.1:1"},
        {"run_ids": ["1234567", "7654321"]},
        {"profile": 'a "quoted" \\ ${HOME} \x7f'},
    ],
)
def test_a_fresh_configuration_works_as_it_is_and_with_everything_on(given: dict[str, Any], tmp_path: Path) -> None:
    text = starter_config(**given)
    path = tmp_path / "config.toml"
    path.write_text(text)
    settings = load_settings(path, {}).settings
    assert settings.aws[0].profile == given.get("profile")
    assert settings.aws[0].region == given.get("region")
    assert list(settings.watch[0].run_ids) == given.get("run_ids", [])
    assert settings.watch[0].discover is not bool(given.get("run_ids"))
    path.write_text(uncommented(text))
    assert [sink.type for sink in load_settings(path, ENVIRON).settings.sinks] == ["stdout", "webhook", "sns"]
    assert len(text.splitlines()) < 50


def test_the_schema_is_one_and_takes_the_example() -> None:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    text = EXAMPLE.read_text()
    for data in (tomllib.loads(text), tomllib.loads(uncommented(text)), tomllib.loads(starter_config()), {}):
        assert [error.message for error in validator.iter_errors(data)] == []
    assert {f"sink-{kind}" for kind in BUILT_IN} <= set(schema["$defs"])
    assert schema["$defs"]["PollingSettings"]["properties"]["min_interval"]["default"] == "5s"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('[polling]\nmax_calls_per_second = "${N}"\nmin_interval = 5\n', True),
        ('[[aws]]\nregion = "${R}"\n[[watch]]\nrun_ids = ["${file:run}"]\n', True),
        ('[log]\nlevel = "${LEVEL}"\n', True),
        ('[[sinks]]\nname = "${N}"\ntype = "post"\nurl = "x"\nverify = "${V}"\nheaders = { A = "b" }\n', True),
        ('[log]\nlevel = "loud"\n', False),
        ("[polling]\nmax_intervall = 5\n", False),
        ("[polling]\nmin_interval = true\n", False),
        ('[[aws]]\nname = "a"\n[[aws]]\nname = "b"\n[[watch]]\naws = "a"\n[[watch]]\naws = "b"\n', True),
        ('[[aws]]\nname = "a"\n[[aws]]\nnamed = "b"\n', False),
        ("[xyz]\n", False),
        ('[[sinks]]\nname = "a"\ntype = "post"\n', False),
        ('[[sinks]]\nname = "a"\ntype = "post"\nurl = "x"\ntopic_arn = "y"\n', False),
        ('[[sinks]]\nname = "a"\ntype = "none"\n', False),
        ('[[sinks]]\nname = "a"\ntype = "topic"\ntopic_arn = "y"\n', False),
    ],
)
def test_the_schema_takes_what_the_loader_takes(text: str, right: bool, catalogue: Catalogue) -> None:
    validator = jsonschema.Draft202012Validator(config_schema(catalogue))
    assert validator.is_valid(tomllib.loads(text)) is right


def test_the_schema_takes_one_signing_secret_or_several() -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    for secret, right in (
        ("whsec_x", True),
        ("${S}", True),
        (["whsec_x", "${S}"], True),
        (5, False),
        ([5], False),
        ([], False),
    ):
        sink = {"name": "a", "type": "webhook", "url": "https://b", "secret": secret}
        assert validator.is_valid({"sinks": [sink]}) is right, secret


def test_the_schema_describes_every_key() -> None:
    def check(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            for key, value in schema.get("properties", {}).items():
                assert "description" in value, f"{path} {key}"
                assert value.get("default", 0) is not None
            for key, value in schema.items():
                check(value, f"{path}/{key}")

    check(config_schema(), "")
    assert '"null"' not in str(config_schema())
