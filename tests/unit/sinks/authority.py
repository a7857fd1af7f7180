"""Certificates for tests: an authority of our own, and what it signs."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PEM = serialization.Encoding.PEM


class Authority:
    """Signs certificates for 127.0.0.1 and localhost, valid for a day or as one says; its own is `ca_file`."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self.directory = directory
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file = directory / f"{name}.pem"
        self.ca_file.write_bytes(self._signed(self.name, self.key, authority=True).public_bytes(_PEM))

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        authority: bool = False,
        begins: datetime | None = None,
        ends: datetime | None = None,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        begins, ends = begins or now - timedelta(hours=1), ends or now + timedelta(days=90)
        names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost"), x509.DNSName("lims.test")]
        return (
            x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number(), begins, ends)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def issue(
        self,
        name: str,
        *,
        password: str | None = None,
        begins: datetime | None = None,
        ends: datetime | None = None,
    ) -> tuple[Path, Path]:
        """The files of a certificate and of its key: `<name>.crt` and `<name>.key`, over what was there."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate, secret = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        certificate.write_bytes(self._signed(subject, key, begins=begins, ends=ends).public_bytes(_PEM))
        locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            locked = serialization.BestAvailableEncryption(password.encode())
        secret.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, locked))
        return certificate, secret

    def server(self, *, clients: Path | None = None, newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A server's context with a certificate of ours; with `clients` it demands one of that authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue("server"))
        if newest is not None:
            context.maximum_version = newest
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        return context
