"""A certificate authority of the test's own, and a server's TLS context by it."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.certificates import SIGNS_CERTIFICATES


def server_context(
    folder: Path, name: str, *, days: tuple[int, int] = (-1, 1)
) -> tuple[ssl.SSLContext, list[str | None]]:
    """For a server called ``name``, and the names that clients ask it by. ``folder`` gets the files.

    ``days``: from now, from which and until which its certificate is good.
    """
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("the test's own authority")
    root = (
        _builder(issuer, issuer, authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
        .add_extension(SIGNS_CERTIFICATES, critical=True)
    )
    leaf = (
        _builder(_name(name), issuer, key, days)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
    )
    (folder / "root.pem").write_bytes(_pem(root.sign(authority, hashes.SHA256())))
    (folder / "leaf.pem").write_bytes(_pem(leaf.sign(authority, hashes.SHA256())))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem", folder / "key.pem")
    names: list[str | None] = []
    context.sni_callback = lambda _socket, asked, _context: names.append(asked)
    return context, names


def trusting(folder: Path) -> ssl.SSLContext:
    """A client's context that trusts the authority in ``folder`` alone, and is as strict as Python 3.13's are by default."""
    context = ssl.create_default_context(cafile=str(folder / "root.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: tuple[int, int] = (-30, 30)
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
