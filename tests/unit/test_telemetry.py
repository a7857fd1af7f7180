"""No secret leaves through a log line, whatever carries it; and the counters do not fill the memory."""

import asyncio
import base64
import gc
import html
import io
import json
import logging
import logging.handlers
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from poller import redaction, telemetry
from poller.core.excerpts import MASK
from poller.redaction import hide, redact
from poller.telemetry import Tally, configure_logging, library_logging

SECRET = "pl4nted/s3cret+with=\"every\" 'quote' & \\ é \N{SNOWMAN}"
WORDS = ("pl4nted", "s3cret")


@pytest.fixture(autouse=True)
def quiet_logs() -> None:
    """Nothing of what other tests share: here the logs themselves are tested."""
    logging.getLogger("poller").setLevel(logging.NOTSET)
    structlog.reset_defaults()


@contextmanager
def logging_to(stream: io.StringIO, level: str = "info", format: str = "json") -> Iterator[io.StringIO]:
    """Logging as the daemon has it, and afterwards all as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, structlog.get_config(), structlog.is_configured()
    levels = {name: logging.getLogger(name).level for name in (*telemetry.NOISY, "apprise")}
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    try:
        configure_logging(level, format, stream)
        yield stream
    finally:
        logging.captureWarnings(False)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        root.handlers[:], root.level = before[0], before[1]
        for name, number in levels.items():
            logging.getLogger(name).setLevel(number)
        logging.getLogger("apprise").propagate = True
        structlog.configure(**before[2]) if before[3] else structlog.reset_defaults()


@pytest.fixture
def fresh_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_secrets", redaction._Secrets())


@pytest.fixture(params=["json", "console"])
def said(request: pytest.FixtureRequest, fresh_secrets: None) -> Iterator[io.StringIO]:
    with logging_to(io.StringIO(), "debug", request.param) as stream:
        hide(SECRET)
        yield stream


def only(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    fields: dict[str, Any] = json.loads(line)
    return fields


# --- a crash in each of the ways in which there are crashes ---


def raise_with_it() -> None:
    raise RuntimeError(f"cannot use {SECRET}")


def raise_beside_it() -> None:
    token = SECRET
    raise RuntimeError("no") if token else AssertionError


def raise_from_it() -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise ValueError("wrapped") from error


def raise_while_it() -> None:
    try:
        raise OSError(2, "no such file", SECRET)
    except OSError:
        raise_beside_it()


def raise_a_group() -> None:
    raise ExceptionGroup("several", [ValueError(SECRET), ExceptionGroup("inner", [KeyError(SECRET.encode())])])


def raise_with_a_note() -> None:
    error = ValueError("no")
    error.add_note(f"the header was {SECRET}")
    raise error


CRASHES = [raise_with_it, raise_beside_it, raise_from_it, raise_while_it, raise_a_group, raise_with_a_note]


def logged_by_us(crash: Callable[[], None]) -> None:
    try:
        crash()
    except Exception:  # noqa: BLE001  # as the supervision does
        structlog.get_logger("poller.part").exception("part.crashed", part="test")


def logged_by_others(crash: Callable[[], None]) -> None:
    try:
        crash()
    except Exception as error:
        logging.getLogger("some.library").exception("failed: %s", error, extra={"header": SECRET})


def logged_by_asyncio(crash: Callable[[], None]) -> None:
    async def main() -> None:
        async def body() -> None:
            crash()

        task = asyncio.create_task(body())
        await asyncio.wait([task])
        del task
        gc.collect()

    asyncio.run(main())


def uncaught(crash: Callable[[], None]) -> None:
    try:
        crash()
    except Exception as error:  # noqa: BLE001  # as the interpreter does
        sys.excepthook(type(error), error, error.__traceback__)


def uncaught_in_a_thread(crash: Callable[[], None]) -> None:
    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()


def unraisable(crash: Callable[[], None]) -> None:
    class Finalized:
        def __del__(self) -> None:
            crash()

    Finalized()
    gc.collect()


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.__name__)
@pytest.mark.parametrize(
    "way",
    [logged_by_us, logged_by_others, logged_by_asyncio, uncaught, uncaught_in_a_thread, unraisable],
    ids=lambda way: way.__name__,
)
def test_a_crash_says_where_and_never_what(
    way: Callable[..., None], crash: Callable[[], None], said: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    way(crash)
    printed = capfd.readouterr()
    output = said.getvalue() + printed.out + printed.err
    assert crash.__name__ in said.getvalue()
    for word in WORDS:
        assert word not in output


@pytest.mark.parametrize(
    "carrier",
    [
        SECRET,
        SECRET.encode(),
        {"a": [SECRET, (SECRET,)]},
        ValueError(SECRET),
        {"body": json.dumps({"token": SECRET})},
        repr({"token": SECRET}),
        json.dumps(repr(SECRET)),
        f"https://example.org/?q={quote(SECRET, safe='')}&r={quote_plus(SECRET)}",
        f"https://example.org/{quote(SECRET)}".lower(),
        base64.b64encode(SECRET.encode()),
        "Basic " + base64.b64encode(b"user:" + SECRET.encode()).decode(),
        "x " + base64.b64encode(b"a user:" + SECRET.encode() + b" and more").decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    ],
    ids=range(13),
)
def test_no_value_and_no_spelling_of_a_secret_gets_out(carrier: object, said: io.StringIO) -> None:
    structlog.get_logger("poller").info("look.failed", detail=carrier, **{"key": carrier})
    structlog.contextvars.bind_contextvars(bound=carrier)
    try:
        logging.getLogger("other").warning("said %s", carrier)
        structlog.get_logger("poller").warning(f"{carrier!s}")
    finally:
        structlog.contextvars.clear_contextvars()
    output = said.getvalue()
    assert output.count(MASK) >= 4
    for word in WORDS:
        assert word not in output.lower()
    core = base64.b64encode(SECRET.encode()).decode()[:-4]
    for encoded in (
        core,
        core.replace("+", "-").replace("/", "_"),
        base64.b64encode(b"r:" + SECRET.encode()).decode()[4:-4],
    ):
        assert encoded not in output


def test_a_warning_goes_the_same_way(said: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)  # inside catch_warnings, which puts the old way back
        warnings.warn(f"deprecated: {SECRET}", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert "deprecated" in said.getvalue()
    assert "pl4nted" not in said.getvalue()


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("key AKIAIOSFODNN7EXAMPLE in", "AKIAIOSFODNN7EXAMPLE"),
        ("ASIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
        ('{"SecretAccessKey": "wJalrXUtnFEMI/K7", "x": 1}', "wJalr"),
        ('{\\"SecretAccessKey\\": \\"wJalrXUtnFEMI/K7\\"}', "wJalr"),
        ("<SecretAccessKey>wJalrXUtnFEMI</SecretAccessKey>", "wJalr"),
        ("<SessionToken>FwoGZXIvYXdzEBYa</SessionToken>", "FwoGZX"),
        ("AWS_SESSION_TOKEN=FwoGZXIvYXdzEBYa", "FwoGZX"),
        ("https://b.s3.amazonaws.com/k?X-Amz-Signature=0ab1c2&x=1", "0ab1c2"),
        ("?X-Amz-Credential=AKIAX%2F20261123%2Fus-east-1&a", "20261123"),
        ("&X-Amz-Security-Token=FwoGZX%2F%2F&a", "FwoGZX"),
        ("X-Amz-Security-Token: FwoGZXIv", "FwoGZX"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("authorization: Basic dXNlcjpw", "dXNlcjpw"),
        ("{'Authorization': 'AWS4-HMAC-SHA256 Credential=AK/x, SignedHeaders=host, Signature=0ab1c2'}", "0ab1c2"),
        ('{\\"Authorization\\": \\"AWS4-HMAC-SHA256 Credential=AK/x, Signature=0ab1c2\\"}', "0ab1c2"),
        ("(b'authorization', b'token abcdef')", "abcdef"),
        ("Proxy-Authorization: Basic dXNlcjpw", "dXNlcjpw"),
        ("sent bearer abcdefghijklmnopqrstuvwxyz", "abcdefghij"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8G"),
        ("postgresql://user:hunter2@host/db", "hunter2"),
        ("password=hunter2", "hunter2"),
        ("https://hooks.slack.com/services/T0/B0/XyZ", "XyZ"),
    ],
)
def test_what_looks_like_a_credential_is_hidden_unasked(text: str, gone: str) -> None:
    assert gone not in redact(text)
    assert MASK in redact(text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "run.transition run=1234567 type=failed name=sample-42",
        "arn:aws:omics:us-east-1:123456789012:run/1234567",
        "arn:aws:iam::123456789012:role/AKIAlike",
        "https://lims.example.org/hooks/healthomics?x=1",
        "next_token=abc listen=127.0.0.1:8780 http://[::1]:80/",
        "the authorizer said no; a bearer token is needed",
        'config.toml:5 [[sinks]] "lims" proxy_password: goes with proxy_user; set that too',
        'config.toml:6 [[sinks]] "lims" client_key_password: goes with client_certificate',
        '{"event": "delivery.failed", "status": 401}',
    ],
)
def test_ordinary_lines_are_left_alone(text: str, fresh_secrets: None) -> None:
    assert redact(text) == text


def test_short_values_are_not_looked_for_and_long_ones_win(fresh_secrets: None) -> None:
    for value in ("", "a", "run", "abcd", "abcdefgh"):
        hide(value)
    assert redact("a run abcdefgh abcd") == f"a run {MASK} {MASK}"


def test_each_line_of_a_key_and_the_rest_of_a_prefixed_secret_are_hidden(fresh_secrets: None) -> None:
    hide("-----BEGIN KEY-----\nfirstlineofit\n\nsecondlineofit\n")
    hide("whsec_abcdefgh")
    hide("Bearer ijklmnop")
    assert redact("firstlineofit|secondlineofit|abcdefgh|ijklmnop") == "|".join([MASK] * 4)


@given(st.text(min_size=8), st.text(max_size=5), st.text(max_size=5))
def test_no_text_is_too_odd_to_be_hidden(secret: str, before: str, after: str) -> None:
    own = redaction._Secrets()
    own.add(secret)
    assert own.pattern is not None
    surrounded = before + secret + after
    for spelling in (
        surrounded,
        json.dumps(surrounded),
        json.dumps(surrounded, ensure_ascii=False),
        repr(surrounded),
        json.dumps(repr(surrounded)),
        repr(json.dumps(json.dumps(surrounded))),
        html.escape(json.dumps(surrounded)),
        quote(quote(surrounded)),
        quote(surrounded, safe=""),
        quote_plus(surrounded),
        repr(surrounded.encode()),
    ):
        assert own.pattern.search(spelling), spelling


# --- the lines themselves ---


def test_a_line_of_json_begins_with_when_how_bad_and_what(fresh_secrets: None) -> None:
    with logging_to(io.StringIO()) as stream:
        log = structlog.get_logger("poller.polling")
        log.info("run.transition", run="1234567", type="failed")
        log.debug("round.committed")
    fields = only(stream)
    assert list(fields) == ["timestamp", "level", "event", "run", "type"]
    assert fields["level"] == "info"
    assert fields["event"] == "run.transition"
    assert fields["timestamp"].endswith("Z")


def test_others_come_with_their_name_and_the_noisy_ones_only_with_warnings(fresh_secrets: None) -> None:
    with logging_to(io.StringIO(), "debug") as stream:
        logging.getLogger("botocore.auth").debug("headers")
        logging.getLogger("aiohttp.access").info("GET /")
        logging.getLogger("asyncio").debug("selector")
        logging.getLogger("botocore.hooks").warning("odd: %d", 3)
    fields = only(stream)
    assert (fields["event"], fields["logger"], fields["level"]) == ("odd: 3", "botocore.hooks", "warning")


@pytest.mark.parametrize("level", ["debug", "error"])
def test_what_apprise_says_is_read_by_its_sink_and_no_line_of_its_own(fresh_secrets: None, level: str) -> None:
    apprise = logging.getLogger("apprise")
    heard = logging.handlers.BufferingHandler(10)
    apprise.addHandler(heard)
    with logging_to(io.StringIO(), level) as stream:
        apprise.warning("Failed to send")
    apprise.removeHandler(heard)
    assert [record.getMessage() for record in heard.buffer] == ["Failed to send"]
    assert stream.getvalue() == ""


def test_a_traceback_as_json_has_no_local_variables(fresh_secrets: None) -> None:
    with logging_to(io.StringIO()) as stream:
        logged_by_us(raise_from_it)
    (wrapped, cause) = only(stream)["exception"]
    assert wrapped["exc_type"] == "ValueError"
    assert cause["exc_type"] == "KeyError"
    assert all("locals" not in frame for frame in wrapped["frames"] + cause["frames"])


def test_a_name_cannot_forge_a_line_of_the_console(fresh_secrets: None) -> None:
    with logging_to(io.StringIO(), format="console") as stream:
        structlog.get_logger("poller").info("run.found", name="a\n2026 [error] \x1b[2Jb\u202e")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b[2J" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_auto_is_the_console_on_a_terminal_and_json_elsewhere(
    monkeypatch: pytest.MonkeyPatch, fresh_secrets: None
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with logging_to(Terminal(), format="auto") as stream:
        structlog.get_logger("poller").info("daemon.started")
    assert "[info     ] daemon.started" in stream.getvalue()
    with logging_to(io.StringIO(), format="auto") as stream:
        structlog.get_logger("poller").info("daemon.started")
    assert only(stream)["event"] == "daemon.started"


def test_no_characters_and_no_arguments_stop_the_log(fresh_secrets: None) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError(SECRET)

    raw = io.BytesIO()
    narrow = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    with logging_to(narrow, format="console"):  # type: ignore[arg-type]
        log = structlog.get_logger("poller")
        log.info("run.found", name="é\udcff")
        log.info("run.found", odd=Odd())
        logging.getLogger("other").warning("%d", "no number")
        narrow.flush()
        written = raw.getvalue().decode()
        narrow.close()
        log.info("run.found")  # nobody listens any more
    assert "run.found" in written
    assert "a line of other could not be written (TypeError)" in written
    assert "pl4nted" not in written


def test_configuring_twice_writes_once(fresh_secrets: None) -> None:
    with logging_to(io.StringIO()) as stream:
        configure_logging("info", "json", stream)
        logging.getLogger("other").warning("once")
    assert only(stream)["event"] == "once"


@pytest.mark.parametrize(("level", "format"), [("loud", "auto"), ("info", "xml")])
def test_an_unknown_level_or_format_is_refused(level: str, format: str) -> None:
    with pytest.raises(ValueError, match="no such log"):
        configure_logging(level, format, io.StringIO())


def test_the_library_prints_nothing_and_hands_its_facts_to_the_standard_library(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, fresh_secrets: None
) -> None:
    hide(SECRET)
    structlog.reset_defaults()
    try:
        library_logging()
        with caplog.at_level("INFO", logger="poller"):
            structlog.get_logger("poller.polling").info("run.transition", run="1234567", detail=SECRET)
            structlog.get_logger("poller.polling").debug("round.committed")
    finally:
        structlog.reset_defaults()
    assert capfd.readouterr() == ("", "")
    (record,) = caplog.records
    assert record.getMessage() == "run.transition"
    assert record.name == "poller.polling"
    assert (record.__dict__["run"], record.__dict__["detail"]) == ("1234567", MASK)


def test_the_library_leaves_a_program_its_own_configuration() -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    try:
        library_logging()
        assert len(structlog.get_config()["processors"]) == 1
    finally:
        structlog.reset_defaults()


# --- counters ---


def test_a_tally_counts_by_name_and_labels() -> None:
    tally = Tally()
    tally.add("looks.failed", scope="lab", error="Throttled")
    tally.add("looks.failed", 2, error="Throttled", scope="lab")
    tally.add("looks.failed", scope="lab", error=None)
    tally.add("rounds")
    assert tally.snapshot() == {
        'looks.failed{error="",scope="lab"}': 1,
        'looks.failed{error="Throttled",scope="lab"}': 3,
        "rounds": 1,
    }
    assert tally.count("looks.failed", scope="lab") == 4
    assert tally.count("looks.failed", error="Throttled") == 3
    assert tally.count("looks.failed", error="other") == 0
    assert tally.count("unheard of") == 0


def test_a_snapshot_does_not_change_afterwards() -> None:
    tally = Tally()
    tally.add("rounds")
    before = tally.snapshot()
    tally.add("rounds")
    assert before == {"rounds": 1}


def test_no_stream_of_odd_labels_fills_the_memory() -> None:
    tally = Tally(most=10)
    for number in range(1000):
        tally.add("looks.failed", error=number)
    assert len(tally.snapshot()) == 11
    assert tally.snapshot()['looks.failed{error="other"}'] == 990
    assert tally.count("looks.failed") == 1000
