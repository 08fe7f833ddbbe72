"""One certificate authority for a cluster, the certificates it issues, and kubeconfigs that hold them."""

import base64
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=3650)


@dataclass(frozen=True)
class KeyPair:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    folder: Path

    @property
    def pair(self) -> KeyPair:
        return KeyPair(self.folder / "ca.crt", self.folder / "ca.key")

    def create(self) -> None:
        """Make the authority and the key that signs service account tokens, once."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.pair.certificate.exists():
            return
        private_key(self.folder / "service-accounts.key")
        key = private_key(self.pair.key)
        subject = name("quanary-e2e")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        builder = unsigned(subject, subject, key).add_extension(constraints, critical=True)
        write_certificate(self.pair.certificate, builder.sign(key, hashes.SHA256()))

    def issue(self, file: str, common_name: str, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> KeyPair:
        """A certificate for a client (common name, groups) and, with hosts, for a server; made once."""
        pair = KeyPair(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        if pair.certificate.exists():
            return pair
        issuer = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        signer = serialization.load_pem_private_key(self.pair.key.read_bytes(), password=None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = unsigned(name(common_name, groups), issuer.subject, private_key(pair.key))
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([alternative(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        write_certificate(pair.certificate, builder.sign(signer, hashes.SHA256()))
        return pair

    def kubeconfig(self, file: Path, server: str, client: KeyPair) -> Path:
        """A kubeconfig with everything inside, so that the file can be copied alone."""
        cluster = {"server": server, "certificate-authority-data": encoded(self.pair.certificate)}
        user = {"client-certificate-data": encoded(client.certificate), "client-key-data": encoded(client.key)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "quanary", "cluster": cluster}],
            "users": [{"name": client.key.stem, "user": user}],
            "contexts": [{"name": "quanary", "context": {"cluster": "quanary", "user": client.key.stem}}],
            "current-context": "quanary",
        }
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return file


def private_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return key


def unsigned(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
    )


def write_certificate(file: Path, certificate: x509.Certificate) -> None:
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def name(common_name: str, groups: tuple[str, ...] = ()) -> x509.Name:
    organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
