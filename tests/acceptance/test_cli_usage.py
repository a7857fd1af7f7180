"""Whatever a user gets wrong: exit code 2, one clear message on stderr, nothing on stdout, and never a traceback."""

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.acceptance.conftest import COMMAND, Run
from tests.unit.sinks.authority import Authority

COMMANDS = [
    "add",
    "check",
    "deliveries",
    "demo",
    "emulator",
    "events",
    "forget",
    "init",
    "listen",
    "remove",
    "render",
    "replay",
    "route",
    "run",
    "runs",
    "schema",
    "send-test",
    "show",
    "sinks",
    "watch",
]
NEED_CONFIGURATION = [
    ["add", "1"],
    ["check"],
    ["deliveries"],
    ["deliveries", "show", "1"],
    ["deliveries", "move", "old", "new"],
    ["events"],
    ["forget", "1"],
    ["remove", "1"],
    ["render", "x"],
    ["replay", "--dead"],
    ["route", "--run", "1"],
    ["route", "--type", "failed"],
    ["sinks"],
    ["sinks", "pause", "lims"],
    ["sinks", "resume", "lims"],
    ["run"],
    ["runs"],
    ["send-test", "x"],
    ["show", "1"],
]
WRONG = [
    # line, what the message must say
    ("wach 1", "watch"),
    ("--foo", "--foo"),
    ("-x watch", "-x"),
    ("watch", "RUN_ID"),
    ("watch abc", "'abc' is no run"),
    ("watch 12x", "'12x' is no run"),
    ("watch 1234567890123456789", "is no run"),
    ("watch 1 2 three", "'three' is no run"),
    ("watch arn:aws:omics:us-east-1:12:run/1", "is no run"),
    ("watch arn:aws:omics:us-east-1:123456789012:workflow/1", "is no run"),
    ("watch arn:aws:omics:eu-west-1:123456789012:run/1 --region us-east-1", "eu-west-1"),
    (
        "watch 5 arn:aws:omics:eu-west-1:123456789012:run/1 arn:aws:omics:us-east-1:123456789012:run/2",
        "run 5: in which",
    ),
    ("watch arn:aws:omics:eu-west-1:123456789012:run/1 arn:aws:omics:eu-west-1:210987654321:run/2", "one account at a"),
    ("watch research:1", "research"),
    ("watch 1 --until DONE", "PENDING, STARTING, RUNNING"),
    ("watch 1 --until", "--until"),
    ("watch 1 --timeout soon", "--timeout 'soon'"),
    ("watch 1 --timeout 0", "--timeout '0'"),
    ("watch 1 --timeout=-5m", "--timeout '-5m'"),
    ("watch 1 --timeout 2w", "--timeout '2w'"),
    ("watch 1 --min-interval 1ms", "min_interval"),
    ("watch 1 --min-interval never", "--min-interval 'never'"),
    ("watch 1 --endpoint-url localhost:1", "--endpoint-url 'localhost:1'"),
    ("watch 1 --endpoint-url ftp://localhost", "--endpoint-url"),
    ("watch 1 --region US_EAST", "--region 'US_EAST'"),
    ("watch 1 --profile nobody", "nobody"),
    ("watch 1 --profile", "--profile"),
    ("watch 1 --untill RUNNING", "--until"),
    ("watch 1 --jsn", "--json"),
    ("watch 1 --no-json", "--no-json"),
    ("watch 1 -c config.toml", "-c"),
    ("run -c missing.toml", "missing.toml: no such file"),
    ("run --config .", "is a directory"),
    ("run -c", "-c"),
    ("run extra -c config.toml", "extra"),
    ("run -c config.toml --region Nowhere!", "--region 'Nowhere!'"),
    ("check -c missing.toml", "missing.toml: no such file"),
    ("check -c config.toml --probes", "--probe"),
    ("check -c config.toml --endpoint-url nowhere", "--endpoint-url 'nowhere'"),
    ("init config.toml", "--force"),
    ("init .", "is a directory"),
    ("init missing/config.toml", "cannot be written"),
    ("init other.toml --run abc", "'abc' is no run"),
    ("init other.toml --region Nowhere!", "--region"),
    ("add -c config.toml", "RUN_ID"),
    ("add abc -c config.toml", "'abc' is no run"),
    ("add other:1 -c config.toml", "there is no scope other"),
    ("add arn:aws:omics:eu-west-1:123456789012:run/1 -c config.toml", "eu-west-1"),
    ("remove abc -c config.toml", "'abc' is no run"),
    ("remove 4711 -c config.toml", "config.toml:6 names run 4711"),
    ("remove 99 -c config.toml", "not followed"),
    ("runs -c config.toml --limit 0", "--limit 0"),
    ("runs -c config.toml --limit many", "--limit"),
    ("show -c config.toml", "RUN_ID"),
    ("explain -c missing.toml", "missing.toml: no such file"),
    ("explain 99 -c config.toml", "99"),
    ("show 99 -c config.toml", "run 99 is not on record"),
    ("show abc -c config.toml", "'abc' is no run"),
    ("forget 99 --yes -c config.toml", "run 99 is not on record"),
    ("events -c config.toml --type nonsense", "no such event"),
    ("events -c config.toml --type faild", "did you mean failed"),
    ("events -c config.toml --since yesterday", "--since 'yesterday'"),
    ("events -c config.toml --after=-1", "--after -1"),
    ("events -c config.toml --limit=-1", "--limit -1"),
    ("events -c config.toml --run abc", "'abc' is no run"),
    ("deliveries -c config.toml --dead --pending", "exclude each other"),
    ("deliveries -c config.toml --sink nobody", '--sink: there is no sink "nobody"; there is none'),
    ("deliveries -c config.toml --run abc", "'abc' is no run"),
    ("send-test -c config.toml", "SINK"),
    ("send-test nobody -c config.toml", 'there is no sink "nobody"'),
    ("route -c config.toml", "which event? Give --run RUN"),
    ("route -c config.toml --run abc", "'abc' is no run"),
    ("route -c config.toml --run 4711", "no such event of run 4711 is on record"),
    ("route -c config.toml --run 4711 --name x", "--name is for a made-up event"),
    ("route -c config.toml --event x --type failed", "leave --type out"),
    ("route -c config.toml --event nowhere", "neither an id or position on record, nor a file"),
    ("route -c config.toml --event .", "--event '.': cannot be read: Is a directory"),
    ("route -c config.toml --event config.toml", "--event 'config.toml' line 1: is no JSON"),
    ("route -c config.toml --event 4711", "--event '4711': not on record"),
    ("route -c config.toml --event b2147cbb-24c8-5bda-8edf-91ecb5127204", "not on record"),
    ("route -c config.toml --event", "--event"),
    ("route -c config.toml --type faild", "did you mean failed"),
    ("route -c config.toml --tag project", "--tag 'project': expected KEY=VALUE"),
    ("route -c config.toml --nam x", "--name"),
    ("render -c config.toml", "SINK"),
    ("render nobody -c config.toml", 'there is no sink "nobody"; there are console'),
    ("render console -c config.toml --type faild", "did you mean failed"),
    ("render console -c config.toml --type failed --event 1", "leave --type out"),
    ("render console -c config.toml --event nowhere", "neither an id or position on record, nor a file"),
    ("render console -c config.toml --event 4711", "--event '4711': not on record"),
    ("emulator missing.toml", "missing.toml"),
    ("emulator config.toml", "no such key"),
    ("emulator --port 70000", "--port 70000"),
    ("emulator --port http", "--port"),
    ("emulator --speed 0", "--speed 0"),
    ("emulator --runs 0", "--runs 0"),
    ("emulator --batch 0", "--batch 0"),
    ("emulator --batch 100001", "1 to 100000 runs"),
    ("emulator --host 203.0.113.1", "cannot be listened on"),
    ("listen --port 70000", "--port 70000"),
    ("listen --port http", "--port"),
    ("listen --host 203.0.113.1", "cannot be listened on"),
    ("listen --answer 503", "--answer 503: must be from 200 to 299; --fail is for the others"),
    ("listen --fail 204", "--fail 204: must be from 300 to 599"),
    ("listen --fail-first 0", "--fail-first 0"),
    ("listen --retry-after 5s", "goes with --fail"),
    ("listen --fail 503 --retry-after soon", "--retry-after 'soon'"),
    ("listen --delay never", "--delay 'never'"),
    ("listen --tolerance 0", "--tolerance '0'"),
    ("listen --count 0", "--count 0"),
    ("listen --fail 503 --count 1", "--count: with --fail alone nothing is ever accepted; add --fail-first"),
    ("listen --fail 503 --answer 200", "--answer: with --fail alone nothing is ever accepted; add --fail-first"),
    ("listen hooks", "hooks"),
    ("schema", "WHAT"),
    ("schema run", '"event"'),
    ("demo now", "now"),
]
CONFIGURATIONS = [
    ("", "", None),
    ("this is not toml", "config.toml:1: is not valid TOML", 2),
    ("[polling]\nmax_intervall = 5", "did you mean max_interval", 2),
    ("[polling]\nmin_interval = 'often'", "config.toml:2", 2),
    ("[polling]\nmin_interval = '5m'\nmax_interval = '1m'", "is longer than", 2),
    ("[watch]\nrun_ids = ['abc']", "config.toml:2", 2),
    ("[watch]\nname_prefix = 'x'", "narrows discovery", 2),
    ("[[aws]]\nname = 'a'\n[[aws]]\nname = 'b'\n[watch]\ndiscover = true", "config.toml:5 [watch]: there are 2", 2),
    ("[http]\nlisten = '0.0.0.0:8780'", "token", 2),
    ("[http]\nlisten = 'here'", "host:port", 2),
    ("[store]\nurl = 'postgresql://x/y'", "PostgreSQL", 2),
    ("[store]\nurl = 'file.db'", "sqlite:///", 2),
    ("[[sinks]]\nname = 'x'\ntype = 'webhok'\nurl = 'http://x'", "webhook", 2),
    ("[[sinks]]\nname = 'x'\ntype = 'webhook'", "url", 2),
    (
        "[[sinks]]\nname = 'x'\ntype = 'webhook'\nurl = 'http://x'\nsecret = '${NOT_SET_ANYWHERE}'",
        "NOT_SET_ANYWHERE",
        2,
    ),
    ("[[sinks]]\nname = 'x'\ntype = 'stdout'\n[[sinks]]\nname = 'x'\ntype = 'stdout'", "another sink", 2),
    ("[[sinks]]\nname = 'x'\ntype = 'stdout'\nevents = ['faild']", "failed", 2),
    ("[log]\nlevel = 'loud'", "level", 2),
    ("[nonsense]\nx = 1", "nonsense", 2),
]


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "OMICS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration that names run 4711, and its record, which has no runs."""
    directory = tmp_path_factory.mktemp("configured")
    (directory / "config.toml").write_text(
        '[aws]\nregion = "us-east-1"\n\n[watch]\nrun_ids = [\n    "4711",\n]\n'
        '[[sinks]]\nname = "console"\ntype = "stdout"\n'
    )
    line = ["add", "4712", "-c", str(directory / "config.toml")]
    subprocess.run([COMMAND, *line], check=True, env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1"})
    return directory


@pytest.fixture
def configured(template: Path, tmp_path: Path) -> None:
    """That configuration and record, in the directory of the test."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
@pytest.mark.usefixtures("configured")
def test_what_is_wrong_is_said_in_one_line(run: Run, line: str, said: str) -> None:
    ended = run(*line.split())
    assert ended.code == 2, ended
    assert said in ended.talk
    assert ended.talk.count("\n") == 1
    assert ended.talk.startswith("omics-poller: ")
    assert "Traceback" not in ended.talk
    assert ended.data == ""


@pytest.mark.parametrize(
    ("text", "said", "code"), CONFIGURATIONS, ids=[said or "empty" for _, said, _ in CONFIGURATIONS]
)
def test_a_wrong_configuration_names_its_line(run: Run, tmp_path: Path, text: str, said: str, code: int | None) -> None:
    (tmp_path / "config.toml").write_text(text)
    ended = run("check", "-c", "config.toml")
    assert ended.code == (code or 0), ended
    assert said in ended.talk
    assert "Traceback" not in ended.talk
    if code:
        assert ended.data == ""
        assert "config.toml" in ended.talk


@pytest.mark.parametrize("line", NEED_CONFIGURATION, ids=" ".join)
def test_a_missing_configuration_is_explained(run: Run, line: list[str]) -> None:
    ended = run(*line)
    assert ended.code == 2
    assert "give -c FILE, or set OMICS_POLLER_CONFIG" in ended.talk
    assert ended.talk.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    ended = run(command, "--help")
    assert ended.code == 0
    assert ended.data.startswith(f"Usage: omics-poller {command}")
    assert "Examples" in ended.data
    assert f"omics-poller {command}" in ended.data.partition("Examples")[2]
    assert ended.talk == ""


def test_help_lists_every_command(run: Run) -> None:
    ended = run("--help")
    assert ended.code == 0
    assert all(f" {command} " in ended.data for command in COMMANDS)
    assert run().data == ended.data


def test_the_version(run: Run) -> None:
    from poller import __version__

    assert run("--version").data == f"{__version__}\n"


def test_an_unexpected_error_is_one_line_and_says_how_to_see_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr("poller.settings.schema.config_schema", break_down)
    ended = run("schema", "config")
    assert ended.code == 1
    assert (
        ended.talk == "omics-poller: unexpected ZeroDivisionError: of all things (this is a bug; --debug shows where)\n"
    )


def test_check_warns_of_a_certificate_that_has_expired_and_refuses_one_without_its_key(
    run: Run, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    Authority(tmp_path).issue("poller", begins=now - timedelta(days=9), ends=now - timedelta(days=2))
    (tmp_path / "config.toml").write_text(
        '[[sinks]]\nname = "lims"\ntype = "webhook"\nurl = "https://lims.example.org/"\n'
        'client_certificate = "poller.crt"\nclient_key = "poller.key"\n'
    )
    checked = run("check", "-c", "config.toml")
    assert checked.code == 0
    (said,) = [line for line in checked.data.splitlines() if "expired on" in line]
    assert said.startswith("warning")
    assert '[[sinks]] "lims" client_certificate: ' in said
    (tmp_path / "poller.key").unlink()
    refused = run("check", "-c", "config.toml")
    assert refused.code == 2
    assert 'config.toml:6 [[sinks]] "lims" client_key: ' in refused.talk
    assert "cannot be read: No such file or directory" in refused.talk
