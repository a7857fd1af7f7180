"""What a configuration becomes: defaults, references, places, and the secrets that are then hidden from the log."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poller.app.build import terms_of
from poller.core.errors import ConfigError
from poller.core.events import PRIVATE_FIELDS
from poller.core.overdue import Terms
from poller.core.runs import RunName
from poller.core.values import format_duration
from poller.redaction import redact
from poller.settings.load import Loaded, load_settings, settings_from
from poller.settings.model import LISTED, HttpSettings, Settings
from poller.settings.texts import run_name

from .conftest import Catalogue, Load, PostSettings, warned

RUN = "arn:aws:omics:us-east-1:123456789012:run/1234567"
POST = '[[sinks]]\nname = "lims"\ntype = "post"\nurl = "https://lims.example.org/"\n'


def test_an_empty_file_means_the_defaults(load: Load) -> None:
    assert load("").settings == Settings() == settings_from({})
    assert load("# nothing\n").settings == Settings()


def test_every_table_and_every_key_has_a_default_and_a_description() -> None:
    for table, described in Settings.model_fields.items():
        assert described.description
        assert not described.is_required(), table
        if table in LISTED:
            continue
        value = getattr(Settings(), table)
        model = type(value[0] if isinstance(value, tuple) else value)
        for key, inner in model.model_fields.items():
            assert inner.description, f"{table}.{key}"
            assert "\n" not in inner.description
            assert not inner.is_required(), f"{table}.{key}"


def test_a_table_may_be_written_as_one_of_several(load: Load) -> None:
    once = load('[aws]\nregion = "eu-west-1"\n[watch]\nrun_ids = ["1"]\n').settings
    assert once == load('[[aws]]\nregion = "eu-west-1"\n[[watch]]\nrun_ids = ["1"]\n').settings
    assert load("aws = []\nwatch = []\n").settings == Settings()


def test_the_settings_of_a_sink_are_those_of_its_type(load: Load) -> None:
    (sink,) = load(
        POST + 'secret = "topsecret"\nevents = ["failed", "batch.*", "overdue", "cohort.finished"]\n'
    ).settings.sinks
    assert isinstance(sink, PostSettings)
    assert sink.url == "https://lims.example.org/"
    assert sink.events == ("failed", "batch.*", "overdue", "cohort.finished")
    assert "topsecret" not in repr(sink)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("deadline = 0", {}),
        ('deadline = "6h"', dict.fromkeys(("PENDING", "STARTING", "RUNNING", "STOPPING"), timedelta(hours=6))),
        ("deadline = 90", dict.fromkeys(("PENDING", "STARTING", "RUNNING", "STOPPING"), timedelta(seconds=90))),
        (
            'deadline = { PENDING = "6h", RUNNING = "2d" }',
            {"PENDING": timedelta(hours=6), "RUNNING": timedelta(days=2)},
        ),
        ('deadline = { RUNNING = "2d", PENDING = 0 }', {"RUNNING": timedelta(days=2)}),
        ("deadline = {}", {}),
    ],
)
def test_a_deadline_is_one_for_all_statuses_or_one_for_each(
    text: str, expected: dict[str, timedelta], load: Load
) -> None:
    (watch,) = load(f"[watch]\n{text}\noverdue_factor = 2.5\n").settings.watch
    assert terms_of([watch]) == Terms(expected, 2.5)


def test_a_sink_may_be_given_as_settings_of_its_own() -> None:
    sink = PostSettings(name="a", type="post", url="http://x/")
    assert settings_from({"sinks": [sink]}).sinks == (sink,)


def test_settings_do_not_change(load: Load) -> None:
    settings = load("").settings
    with pytest.raises(ValueError, match="frozen"):
        settings.polling.min_interval = timedelta(0)  # type: ignore[misc]


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistakes(load: Load) -> None:
    loaded = load(b'\xef\xbb\xbf[log]\r\nlevel = "DEBUG"\r\n')
    assert loaded.settings.log.level == "debug"
    assert loaded.line_of(("log", "level")) == 2


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1234567", RunName("1234567")),
        ("lab:1", RunName("1", scope="lab")),
        ("123456789012/us-east-1:1", RunName("1", scope="123456789012/us-east-1")),
        (RUN, RunName("1234567", region="us-east-1", account_id="123456789012")),
    ],
)
def test_a_run_is_named_in_three_ways(text: str, name: RunName) -> None:
    assert run_name(text) == name


def test_a_run_may_be_named_with_the_scope_or_the_region_of_the_table(load: Load) -> None:
    named = load(f'[aws]\nname = "lab"\nregion = "us-east-1"\n[watch]\naws = "lab"\nrun_ids = ["lab:1", "{RUN}"]\n')
    assert named.settings.watch[0].run_ids == ("lab:1", RUN)
    found = load(f'[watch]\nrun_ids = ["123456789012/us-east-1:1", "{RUN}"]\n')
    assert found.settings.watch[0].run_ids == ("123456789012/us-east-1:1", RUN)


@pytest.mark.parametrize(
    ("listen", "address", "on_loopback"),
    [
        ("127.0.0.1:8780", ("127.0.0.1", 8780), True),
        ("127.1.2.3:0", ("127.1.2.3", 0), True),
        ("localhost:1", ("localhost", 1), True),
        ("[::1]:8780", ("::1", 8780), True),
        ("", None, True),
        (":8780", ("0.0.0.0", 8780), False),  # noqa: S104  # nothing listens
        ("0.0.0.0:8780", ("0.0.0.0", 8780), False),  # noqa: S104  # nothing listens
        ("[::]:8780", ("::", 8780), False),
        ("lab.example.org:80", ("lab.example.org", 80), False),
    ],
)
def test_an_address_is_on_loopback_or_needs_a_token(
    listen: str, address: tuple[str, int] | None, on_loopback: bool
) -> None:
    http = HttpSettings(listen=listen)
    assert http.address == address
    assert http.on_loopback is on_loopback
    assert settings_from({"http": {"listen": listen, "token": "a token"}}).http.listen == listen


def test_what_may_be_included_is_what_is_left_out() -> None:
    assert settings_from({"privacy": {"include": list(PRIVATE_FIELDS)}}).privacy.include == PRIVATE_FIELDS


# --- durations ---


@given(st.integers(0, 10**11).map(lambda milliseconds: timedelta(milliseconds=milliseconds)))
def test_a_duration_is_read_back_as_it_is_written(span: timedelta) -> None:
    heartbeat = format_duration(span)
    assert settings_from({"daemon": {"heartbeat": heartbeat}}).daemon.heartbeat == span
    assert settings_from({"daemon": {"heartbeat": span.total_seconds()}}).daemon.heartbeat == span


@given(st.text(max_size=8))
def test_no_text_as_a_duration_leads_to_anything_but_a_duration_or_a_message(text: str) -> None:
    try:
        assert settings_from({"daemon": {"heartbeat": text}}).daemon.heartbeat >= timedelta(0)
    except ConfigError as refused:
        assert str(refused).startswith("[daemon] heartbeat: ")  # noqa: PT017  # either is right


# --- references ---


def test_a_variable_is_put_in_anywhere_in_a_text(load: Load) -> None:
    text = (
        '[aws]\nregion = "${PLACE}-west-${N}"\n[polling]\nmax_calls_per_second = "${N}"\n[watch]\ndiscover = "${YES}"\n'
    )
    settings = load(text, {"PLACE": "eu", "N": "1", "YES": "true"}).settings
    assert settings.aws[0].region == "eu-west-1"
    assert settings.polling.max_calls_per_second == 1
    assert settings.watch[0].discover is True


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$", "$"),
        ("$$", "$$"),
        ("$A", "$A"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("${A}", "${B}"),
        ("a${A}b${E}$${", "a${B}b${"),
        ("{A}", "{A}"),
    ],
)
def test_what_is_put_in_is_not_searched_again_and_a_dollar_is_a_dollar(written: str, meant: str, load: Load) -> None:
    text = f'[watch]\ndiscover = true\nname_prefix = "{written}"\n'
    assert load(text, {"A": "${B}", "E": ""}).settings.watch[0].name_prefix == meant


@given(st.text(max_size=20))
def test_any_text_can_be_written_literally(text: str) -> None:
    from poller.settings.substitute import substitute

    written = text.replace("${", "$${")
    done = substitute({"key": [written]}, {}, Path())
    assert done.data == {"key": [text]}
    assert not done.problems


def test_a_secret_is_read_from_a_file_beside_the_configuration(
    load: Load, tmp_path: Path, catalogue: Catalogue
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "secret").write_text("  fromafile \n\n")
    (tmp_path / "windows").write_bytes(b"fromwindows\r\n")
    text = (
        POST
        + 'secret = "${file:below/secret}"\nheaders = { A = "Bearer ${file: '
        + str(tmp_path / "windows")
        + '}" }\n'
    )
    load(text)
    (sink,) = load_settings(tmp_path / "config.toml", {}, catalogue=catalogue).settings.sinks
    assert isinstance(sink, PostSettings)
    assert sink.secret is not None
    assert sink.secret.get_secret_value() == "  fromafile \n"
    assert sink.headers["A"].get_secret_value() == "Bearer fromwindows"


def test_a_mapping_of_a_program_is_taken_as_it_is() -> None:
    settings = settings_from({"watch": {"discover": True, "name_prefix": "${HOME}"}})
    assert settings.watch[0].name_prefix == "${HOME}"


def test_secrets_are_hidden_from_the_log_and_other_values_are_not(load: Load, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("planted-one\n")
    text = (
        '[aws]\nregion = "${REGION}"\n[http]\ntoken = "planted-two"\n[daemon]\ninstance = "${INSTANCE_TOKEN}"\n'
        + POST.replace("https://", "https://user:${DB_PASSWORD}@")
        + 'secret = "${FOUR}"\nheaders = { A = "planted-five", B = "${file:file}" }\n'
    )
    environ = {
        "REGION": "eu-planted-1",
        "INSTANCE_TOKEN": "planted-three",
        "DB_PASSWORD": "planted-six",
        "FOUR": "planted-four",
    }
    load(text, environ)
    for word in ("one", "two", "three", "four", "five", "six"):
        assert redact(f"x planted-{word} y") == "x [hidden] y"
    assert redact("eu-planted-1") == "eu-planted-1"


def test_a_refused_configuration_hides_its_secrets_too(load: Load) -> None:
    with pytest.raises(ConfigError):
        load('[http]\ntoken = "planted-and-refused"\nsecrett = "planted-in-unknown"\nlisten = 5\n')
    assert redact("planted-and-refused planted-in-unknown") == "[hidden] [hidden]"


# --- places ---


def test_the_line_of_a_key_of_a_list_item_and_of_a_run() -> None:
    text = """\
[watch]
discover = true
run_ids = [  # ours
  "1234567",
  # theirs
  "lab:7654321", "arn:aws:omics:us-east-1:123456789012:run/99",
]

[[sinks]]
name = "a"
[[sinks]]
name = "b"
"""
    settings = Settings.model_construct(
        watch=settings_from(
            {"aws": {"name": "lab"}, "watch": {"run_ids": ["1234567", "lab:7654321", RUN[:-7] + "99"]}}
        ).watch
    )
    loaded = Loaded(settings, Path("config.toml"), Path(), text)
    assert loaded.line_of(("watch", "discover")) == loaded.line_of(("watch", 0, "discover")) == 2
    assert loaded.line_of(("watch", 0, "run_ids", 1)) == 6
    assert loaded.line_of(("sinks", 1, "name")) == 12
    assert loaded.line_of(("sinks", 1, "timeout")) == 11
    assert loaded.line_of(("store", "url")) is None
    assert [loaded.line_of_run(run) for run in ("1234567", "7654321", "99", "5")] == [4, 6, 6, None]


# --- warnings ---


def test_what_nobody_wants_is_warned_of(load: Load) -> None:
    assert [warning.split(":")[0] for warning in warned(load("").settings)] == [
        "nothing to watch",
        "no [[sinks]]",
    ]
    deaf = load("[watch]\ndiscover = true\n" + POST + 'events = ["failed"]\n').settings
    assert warned(deaf) == ['no sink takes "blind": nobody is told when the poller can no longer see the account']
    assert warned(load('[watch]\nrun_ids = ["1"]\n' + POST).settings) == []
    assert warned(load('[watch]\nrun_ids = ["1"]\n' + POST + 'events = ["b*"]\n').settings) == []
