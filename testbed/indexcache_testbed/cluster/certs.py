"""The cluster's own certificate authority: one certificate for each component, as a real cluster has.

Nobody is an administrator by being local: the API server knows clients by certificate and decides by RBAC,
the kubelet asks the API server about its own. Keys are P-256; all is valid for a year and made anew with each
cluster.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Subject:
    """Says who a certificate is for."""

    name: str
    """Kubernetes' user name."""
    groups: tuple[str, ...] = ()
    """Kubernetes' groups."""
    hosts: tuple[str, ...] = ()
    """DNS names and addresses it serves under; none for a client."""


def clients(node: str) -> dict[str, Subject]:
    """Return clients by file name, with the names that Kubernetes' built-in roles are bound to."""
    return {
        "admin": Subject("testbed-admin", ("system:masters",)),
        "controller-manager": Subject("system:kube-controller-manager"),
        "scheduler": Subject("system:kube-scheduler"),
        "proxy": Subject("system:kube-proxy"),
        "kubelet": Subject(f"system:node:{node}", ("system:nodes",)),
        "apiserver-to-kubelet": Subject("apiserver-to-kubelet"),
    }


class Authority:
    """A certificate authority that lives in a directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "testbed")])
        public = self._key.public_key()
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        own = (
            self._builder(self._name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._write("ca", self._key, own)

    def issue(self, file: str, subject: Subject) -> None:
        """Write FILE.crt and FILE.key for a subject: a server where it has hosts, else a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in subject.groups]
        name = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, subject.name)])
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if subject.hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            self._builder(name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True
            )
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if subject.hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(_names(subject.hosts)), critical=False
            )
        self._write(file, key, builder.sign(self._key, hashes.SHA256()))

    def _builder(self, name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(issuer_name=self._name, subject_name=name, public_key=public)
        # Five minutes back: clocks of programs that start at the same time may differ by rounding.
        return (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + VALID)
        )

    def _write(self, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        write_key(self.directory / f"{file}.key", key)
        (self.directory / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key that only its owner can read."""
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def write_all(directory: Path, *, node: str, apiserver: Sequence[str], kubelet: Sequence[str]) -> None:
    """Write the authority, every client, the two servers and the key that signs service accounts' tokens.

    Args:
        directory: where to.
        node: the node's name.
        apiserver: names and addresses of the API server.
        kubelet: names and addresses of the kubelet.
    """
    authority = Authority(directory)
    for file, subject in clients(node).items():
        authority.issue(file, subject)
    authority.issue("apiserver", Subject("kube-apiserver", hosts=tuple(apiserver)))
    authority.issue("kubelet-server", Subject(f"system:node:{node}", hosts=tuple(kubelet)))
    key = ec.generate_private_key(ec.SECP256R1())
    write_key(directory / "sa.key", key)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (directory / "sa.pub").write_bytes(public)


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names
