"""Files of certificates: what is wrong with them, said of the right key, and until when they are valid."""

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from poller.sinks.certificates import CertificateError, CertificateFiles, RenewedContext, validity_of

from .authority import Authority

NOW = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_files_that_fit_make_a_context_that_verifies(ca: Authority) -> None:
    context = CertificateFiles(*ca.issue("poller"), ca_file=ca.ca_file).context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.cert_store_stats()["x509"] == 1, "the system's authorities are not trusted beside those of ca_file"


def test_without_a_ca_file_the_system_is_trusted(ca: Authority) -> None:
    stats = CertificateFiles(*ca.issue("poller")).context().cert_store_stats()
    assert stats == ssl.create_default_context().cert_store_stats()


def test_the_key_may_stand_in_the_file_of_the_certificate(ca: Authority) -> None:
    certificate, key = ca.issue("poller")
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    key.unlink()
    assert _shown_to_a_server(CertificateFiles(certificate, ca_file=ca.ca_file), ca) == "CN=poller"


def test_a_password_opens_the_key(ca: Authority) -> None:
    files = CertificateFiles(*ca.issue("poller", password="pw-5f0c"), key_password="pw-5f0c", ca_file=ca.ca_file)
    assert _shown_to_a_server(files, ca) == "CN=poller"


def _shown_to_a_server(files: CertificateFiles, ca: Authority) -> str:
    """Whose certificate a server gets to see, once the client has proved that it has the key. All in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ca.server(clients=ca.ca_file).wrap_bio(to_server, to_client, server_side=True)
    client = files.context().wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    for end in (client, server, client, server):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    shown = server.getpeercert(binary_form=True)
    assert shown, "the server was shown no certificate"
    return x509.load_der_x509_certificate(shown).subject.rfc4514_string()


Break = Callable[[Path, Authority], CertificateFiles]


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _made(path: Path, make: Callable[[Path], None]) -> Path:
    make(path)
    return path


JUNK = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n"
WRONG: list[tuple[Break, str, str]] = [
    (lambda d, ca: CertificateFiles(d / "no.crt", ca.issue("a")[1]), "client_certificate", "No such file"),
    (lambda d, ca: CertificateFiles(ca.issue("a")[0], d / "no.key"), "client_key", "No such file"),
    (lambda d, _: CertificateFiles(ca_file=d / "no.pem"), "ca_file", "No such file"),
    (lambda d, _: CertificateFiles(ca_file=d), "ca_file", "not a file"),
    (lambda d, _: CertificateFiles(ca_file=_made(d / "pipe", os.mkfifo)), "ca_file", "not a file"),
    (lambda d, _: CertificateFiles(ca_file=d / "a\0b"), "ca_file", "not a path"),
    (lambda d, _: CertificateFiles(ca_file=_text(d / "empty", "")), "ca_file", "holds no certificate"),
    (lambda d, _: CertificateFiles(ca_file=_text(d / "junk", JUNK)), "ca_file", "holds no certificate"),
    (lambda _, ca: CertificateFiles(ca_file=ca.issue("a")[1]), "ca_file", "holds no certificate"),
    (lambda _, ca: CertificateFiles(ca.issue("a")[1], ca.issue("a")[1]), "client_certificate", "holds no certificate"),
    (lambda _, ca: CertificateFiles(ca.issue("a")[0]), "client_certificate", "name its file in client_key"),
    (lambda _, ca: CertificateFiles(ca.issue("a")[0], ca.issue("b")[1]), "client_key", "b.key is not the key of"),
    (lambda d, ca: CertificateFiles(ca.issue("a")[0], _text(d / "no.key", JUNK)), "client_key", "holds no private key"),
    (lambda _, ca: CertificateFiles(*ca.issue("a", password="p")), "client_key", "is encrypted: set client_key_pass"),
    (
        lambda _, ca: CertificateFiles(*ca.issue("a", password="pw"), key_password="nowhere-shown"),
        "client_key_password",
        "does not open the key",
    ),
    (
        lambda _, ca: CertificateFiles(*ca.issue("a", password="pw"), key_password="nowhere-shown" * 100),
        "client_key_password",
        "does not open the key",
    ),
]


@pytest.mark.parametrize(("wrong", "key", "says"), WRONG)
def test_what_is_wrong_with_files_is_said_of_their_key(
    wrong: Break, key: str, says: str, tmp_path: Path, ca: Authority
) -> None:
    with pytest.raises(CertificateError) as caught:
        wrong(tmp_path, ca).context()
    assert caught.value.key == key
    assert says in caught.value.sentence
    assert "nowhere-shown" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_key_that_may_not_be_read(ca: Authority) -> None:
    certificate, key = ca.issue("a")
    key.chmod(0)
    with pytest.raises(CertificateError, match=r"client_key: .*Permission denied"):
        CertificateFiles(certificate, key).context()


def test_a_context_is_made_anew_once_a_file_has_changed(ca: Authority) -> None:
    certificate, key = ca.issue("poller")
    renewed = RenewedContext(CertificateFiles(certificate, key))
    first = renewed.context()
    assert renewed.context() is first
    ca.issue("poller")
    assert renewed.context() is not first
    key.unlink()
    for _ in range(2):
        with pytest.raises(CertificateError):
            renewed.context()
    ca.issue("poller")
    renewed.context()


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)),
        (datetime(1950, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_the_time_for_which_a_certificate_is_valid(begins: datetime, ends: datetime, ca: Authority) -> None:
    certificate, _ = ca.issue("a", begins=begins, ends=ends)
    der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
    parsed = x509.load_der_x509_certificate(der)
    assert validity_of(der) == (parsed.not_valid_before_utc, parsed.not_valid_after_utc) == (begins, ends)


@pytest.mark.parametrize("der", [b"", b"0", b"0\x03\x02\x01\x01", b"0\x82", b"\xff" * 40])
def test_what_is_no_certificate_has_no_such_time(der: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whatever it stumbles over
        validity_of(der)


@pytest.mark.parametrize(
    ("begins", "ends", "says"),
    [
        (-90, -1, "expired on 2026-11-22: renew it, the far end will refuse it"),
        (-90, 0, "expired on 2026-11-23"),
        (1, 90, "is not valid before 2026-11-24 08:15 UTC"),
        (-90, 14, "expires on 2026-12-07: renew it before"),
        (-90, 15, None),
    ],
)
def test_a_certificate_that_is_not_valid_for_long_is_doubtful(
    begins: int, ends: int, says: str | None, ca: Authority, tmp_path: Path
) -> None:
    issued = ca.issue("a", begins=NOW + timedelta(days=begins), ends=NOW + timedelta(days=ends))
    found = list(CertificateFiles(*issued).doubts(NOW))
    assert found == (
        [] if says is None else [f"client_certificate: {tmp_path / 'a.crt'} {found[0].partition('.crt ')[2]}"]
    )
    assert says is None or says in found[0]
    of_authorities = list(CertificateFiles(ca_file=issued[0]).doubts(NOW))
    assert [text.replace("ca_file", "client_certificate") for text in of_authorities] == found
