"""Files of certificates and keys: what TLS context they make, what is wrong with them, until when they are valid."""

import re
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

ENDS_SOON: Final = timedelta(days=14)
"""How long before its end a certificate is spoken of."""

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME: Final = 0x17
_EXPLICIT_VERSION: Final = 0xA0


class CertificateError(Exception):
    """A file cannot be used. `key` is the setting that is to be mended, `sentence` says what is wrong."""

    def __init__(self, key: str, sentence: str) -> None:
        super().__init__(f"{key}: {sentence}")
        self.key = key
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """What a TLS connection is made with. Without `ca_file` the system's authorities are trusted, with it only those.

    The key may stand in the file of the certificate; `key_password` opens it.
    """

    certificate: Path | None = None
    key: Path | None = None
    key_password: str | None = None
    ca_file: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.certificate, self.key, self.ca_file) if path is not None)

    def check(self) -> None:
        """Look at every file. Raises: CertificateError for the first that cannot be used."""
        for key, path in (
            ("client_certificate", self.certificate),
            ("client_key", self.key),
            ("ca_file", self.ca_file),
        ):
            if path is not None:
                _look(key, path)
        for key, path in (("ca_file", self.ca_file), ("client_certificate", self.certificate)):
            if path is not None:
                _hold_certificates(key, path)
        if self.certificate is not None:
            self._present(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), self.certificate)

    def context(self) -> ssl.SSLContext:
        """A context for clients. Raises: CertificateError."""
        self.check()
        context = ssl.create_default_context(cafile=self.ca_file)
        context.set_alpn_protocols(["http/1.1"])
        if self.certificate is not None:
            self._present(context, self.certificate)
        return context

    def _present(self, context: ssl.SSLContext, certificate: Path) -> None:
        asked = False

        def password() -> str:
            nonlocal asked
            asked = True
            return self.key_password or ""

        try:
            context.load_cert_chain(certificate, self.key, password)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                sentence = f"{self.key or certificate} is not the key of {certificate}"
            elif asked and self.key_password is None:
                sentence = f"{self.key or certificate} is encrypted: set client_key_password"
            elif asked:
                raise CertificateError("client_key_password", "does not open the key") from None
            elif self.key is None:
                raise CertificateError(
                    "client_certificate", f"{certificate} holds no private key: name its file in client_key"
                ) from None
            else:
                sentence = f"{self.key} holds no private key that can be read (PEM is expected)"
            raise CertificateError("client_key", sentence) from None

    def doubts(self, now: datetime) -> Iterator[str]:
        """What is to be said of the time for which the certificates are valid."""
        for key, path in (("client_certificate", self.certificate), ("ca_file", self.ca_file)):
            if path is None:
                continue
            found = [validity_of(der) for der in _certificates_in(path)]
            for begins, ends in found[:1] if key == "client_certificate" else found:
                if (said := _doubt(begins, ends, now)) is not None:
                    yield f"{key}: {'a certificate in ' if len(found) > 1 else ''}{path} {said}"


class RenewedContext:
    """The context of files, made anew once one of them has changed: certificates are renewed while a daemon runs."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._made_of: tuple[object, ...] | None = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """The context of the files as they are now. Raises: CertificateError, also while they are half written."""
        stamps = tuple(map(_stamp, self._files.paths))
        if self._context is None or stamps != self._made_of:
            self._context, self._made_of = None, None
            self._context = self._files.context()
            self._made_of = stamps
        return self._context


def validity_of(der: bytes) -> tuple[datetime, datetime]:
    """From when and until when a certificate (X.509 in DER) is valid. Raises: ValueError if it is none."""
    try:
        _, certificate, _ = _element(der)
        _, fields, _ = _element(certificate)
        tag, _, rest = _element(fields)
        if tag == _EXPLICIT_VERSION:
            _, _, rest = _element(rest)  # the serial number
        for _ in ("signature", "issuer"):
            _, _, rest = _element(rest)
        _, validity, _ = _element(rest)
        tag, begins, rest = _element(validity)
        other_tag, ends, _ = _element(rest)
        return _moment(tag, begins), _moment(other_tag, ends)
    except IndexError:
        raise ValueError("not a certificate") from None


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """The first element of DER: its tag, its content, and what follows it."""
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return tag, der[start : start + length], der[start + length :]


def _moment(tag: int, text: bytes) -> datetime:
    """A UTCTime or GeneralizedTime, as RFC 5280 has them written in certificates."""
    digits = text.decode("ascii").removesuffix("Z")
    if tag == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _certificates_in(path: Path) -> list[bytes]:
    return [ssl.PEM_cert_to_DER_cert(found.decode("ascii")) for found in _PEM.findall(path.read_bytes())]


def _doubt(begins: datetime, ends: datetime, now: datetime) -> str | None:
    if ends <= now:
        return f"expired on {ends:%Y-%m-%d}: renew it, the far end will refuse it"
    if begins > now:
        return f"is not valid before {begins:%Y-%m-%d %H:%M} UTC"
    if ends - now <= ENDS_SOON:
        return f"expires on {ends:%Y-%m-%d}: renew it before"
    return None


def _look(key: str, path: Path) -> None:
    try:
        if stat.S_ISREG(path.stat().st_mode):
            with path.open("rb"):
                return
        reason = "not a file"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
    raise CertificateError(key, f"{path} cannot be read: {reason}")


def _hold_certificates(key: str, path: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError:  # an SSLError is one
        raise CertificateError(key, f"{path} holds no certificate that can be read (PEM is expected)") from None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino
