"""Lines of logs: no secret and no name that the operator does not let be shown gets out; what helps stays readable."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poller.core.excerpts import (
    _TECHNICAL,
    LONGEST_LINE,
    LONGEST_MESSAGE,
    LONGEST_READ,
    MOST_BYTES,
    NamePolicy,
    clean_line,
    clean_message,
    last_that_fit,
    names_in,
)
from poller.redaction import hide, redact

STRICT = NamePolicy()
OPEN = NamePolicy(shown=("*",))

letters = st.text(string.ascii_letters, min_size=1, max_size=8)
digits = st.text(string.digits, min_size=1, max_size=5)
names = st.one_of(
    st.tuples(letters, st.sampled_from(["", "-", "_"]), digits).map("".join),
    st.tuples(letters, digits, letters).map("".join),
    st.text(string.digits, min_size=6, max_size=12),
).filter(lambda name: _TECHNICAL.fullmatch(name) is None)
"""Names as labs give them: letters and digits mixed, or a long number."""
words = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=9), max_size=5).map(" ".join)
around = st.sampled_from(
    ["{}", " {} ", "={} ", "({})", "[{}]", "'{}'", "{}:", "{},", "/data/{}/x", "s3://b/{}/y", "{}.bam"]
)
secrets = st.one_of(
    st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=16).map("AKIA{}".format),
    st.text(string.ascii_letters + string.digits + "/+", min_size=37, max_size=37).map("aA1{}".format),
    st.text(string.ascii_letters + string.digits, min_size=20, max_size=36).map("ghp_{}".format),
    st.text(string.ascii_letters + string.digits + "_-", min_size=30, max_size=50).map(
        "eyJhbGciOiJIUzI1NiJ9.{}".format
    ),
    st.text(string.hexdigits, min_size=40, max_size=64).map("a1{}".format),
)


@given(words, names, around, words)
@example("sample", "HG002", "{}", "aligned")
def test_a_name_is_masked_wherever_it_stands(before: str, name: str, form: str, after: str) -> None:
    line = f"{before} {form.format(name)} {after}"
    assert name not in clean_line(line, STRICT)


@given(words, names, st.sampled_from(["{}", " {} ", "={} ", "({})", "'{}'", "s3://b/{}", "/data/{}/x"]), words)
def test_a_name_that_the_operator_lets_be_shown_is_shown(before: str, name: str, form: str, after: str) -> None:
    line = f"{before} {form.format(name)} {after}"
    assert name in clean_line(line, NamePolicy(shown=(f"{name[:2]}*",)))


@given(words, secrets, st.sampled_from(["{}", "key={}", '"token": "{}"', "Bearer {}", "x {} y"]), words)
def test_a_secret_is_masked_whatever_names_may_be_shown(before: str, secret: str, form: str, after: str) -> None:
    line = f"{before} {form.format(secret)} {after}"
    for policy in (STRICT, OPEN):
        assert secret not in clean_line(redact(line), policy)
    assert secret not in clean_message(redact(line))


value = st.text(string.ascii_letters + string.digits + "%._~", min_size=3, max_size=30)


@given(st.sampled_from(["https", "http", "s3", "ftp"]), value, value, words)
def test_of_an_address_no_query_and_no_password_is_left(scheme: str, signature: str, password: str, after: str) -> None:
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=zz{signature}&other=qq{signature}"
    line = f"GET {scheme}://user:pp{password}@host.example.org/key?{query} {after}"
    for clean in (clean_line(line, STRICT), clean_line(line, OPEN), clean_message(line)):
        assert f"zz{signature}" not in clean
        assert f"qq{signature}" not in clean
        assert f"pp{password}" not in clean
        assert "host.example.org" in clean


@given(st.sampled_from(["password", "secret", "api_key", "API-KEY", "db_passwd", "SESSION_TOKEN"]), letters)
def test_what_is_called_a_secret_is_masked(name: str, secret: str) -> None:
    secret = f"zq{secret}"
    for line in (f"{name}={secret} x", f'"{name}": "{secret}"', f"--{name} {secret}", f"{name} : {secret}"):
        assert secret not in clean_line(line, OPEN)
        assert secret not in clean_message(line)


@given(names, letters)
def test_the_name_and_the_tags_of_the_run_are_masked_though_they_are_ordinary_words(name: str, word: str) -> None:
    patient = f"mueller{word}"
    policy = NamePolicy(hidden=names_in(name, {"patient": patient, "list": [patient]}))
    clean = clean_line(f"about {patient} and {patient.upper()} in {patient}lab, of {name}", policy)
    assert patient.casefold() not in clean.casefold()
    assert name not in clean


@given(st.text(max_size=3000), st.sampled_from([STRICT, OPEN]))
def test_any_text_becomes_one_short_line_without_control_characters(text: str, policy: NamePolicy) -> None:
    for clean, longest in ((clean_line(text, policy), LONGEST_LINE), (clean_message(text), LONGEST_MESSAGE)):
        assert len(clean) <= longest
        assert "\n" not in clean
        assert "\x1b" not in clean


@given(st.integers(0, 60), secrets)
def test_a_secret_at_the_edge_of_a_long_line_does_not_get_out_in_part(back: int, secret: str) -> None:
    line = "w " * ((LONGEST_READ - back) // 2) + secret + " end"
    for clean in (clean_line(line, OPEN), clean_message(line)):
        assert secret[:8] not in clean


@given(st.lists(st.text(max_size=LONGEST_LINE), max_size=200), st.integers(0, MOST_BYTES))
def test_the_last_lines_are_kept_that_fit(lines: list[str], most: int) -> None:
    kept = last_that_fit(lines, most)
    assert kept == lines[len(lines) - len(kept) :]
    assert sum(len(line.encode(errors="replace")) + 1 for line in kept) <= most
    if len(kept) < len(lines):
        one_more = lines[len(lines) - len(kept) - 1 :]
        assert sum(len(line.encode(errors="replace")) + 1 for line in one_more) > most


def test_a_value_of_our_own_configuration_is_masked_before() -> None:
    hide("correct horse battery")
    assert "horse" not in clean_line(redact("the secret is correct horse battery"), OPEN)


@pytest.mark.parametrize(
    "line",
    [
        "exec /bin/bash: exec format error",
        "Killed",
        "/usr/bin/time: cannot run samtools: No such file or directory",
        "2026-11-23T08:15:00.123Z ERROR: exit code 137 after 12.5s, 16GB of memory",
        "Traceback (most recent call last):",
        "ValueError: could not convert string to float",
        "process > ALIGN [100%] 3 of 3, failed: 1",
        "chr1:1000-2000 of hg38 on x86_64 in us-east-1 with python3.11",
        "java -Xmx4g -jar gatk4",
    ],
)
def test_what_tells_a_cause_stays_as_it_is(line: str) -> None:
    assert clean_line(line, STRICT) == line


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("s3://lab-bucket/patients/HG002/reads.bam is missing", "s3://lab-bucket/[hidden] is missing"),
        ("/mnt/workflow/data/Mueller/reads.fastq.gz", "/mnt/workflow/data/[hidden]/[hidden].fastq.gz"),
        ("mail jane.doe@example.org", "mail [hidden]"),
        ("MRN 00417233", "MRN [hidden]"),
        ("\x1b[31mred\x1b[0m and\ttab", "red  and tab"),
        ("File '/opt/conda/lib/python3.9/site-packages/x/y.py', line 12", None),
    ],
)
def test_lines_as_they_come(line: str, clean: str | None) -> None:
    assert clean_line(line, STRICT).strip() == (line if clean is None else clean)


def test_of_an_address_only_the_allowed_parts_are_shown() -> None:
    policy = NamePolicy(shown=("HG00*",))
    assert clean_line("s3://lab/Mueller/HG002.bam", policy) == "s3://lab/[hidden]/HG002.bam"


def test_the_ids_that_the_event_shows_are_no_names() -> None:
    assert clean_line("task 6657068 of run 1234567", NamePolicy(plain=frozenset({"6657068"}))) == (
        "task 6657068 of run [hidden]"
    )
