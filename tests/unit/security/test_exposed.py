"""What listens where others reach it: a token and TLS, or nothing at all."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dagster_project.errors import ConfigurationError
from dagster_project.metrics.exporter import Exporter
from dagster_project.metrics.serve import serving
from dagster_project.services.exposed import Exposed
from dagster_project.services.ports import LOOPBACK

TOKEN = "a-token-that-nobody-can-guess"
ELSEWHERE = ["0.0.0.0", "::", "192.0.2.7", "lake.example", "127.0.0.1.example", ""]


def exposed(**values: object) -> Exposed:
    return Exposed(**{"what": "it", "variable": "A_TOKEN", "host": LOOPBACK, **values})  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of this machine, and its key."""
    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("host", ELSEWHERE)
def test_elsewhere_it_wants_a_token_and_tls(host: str, files: tuple[Path, Path]) -> None:
    certificate, key = files
    with pytest.raises(ConfigurationError, match="there is no token"):
        exposed(host=host, certificate=certificate, key=key)
    with pytest.raises(ConfigurationError, match="without TLS"):
        exposed(host=host, token=TOKEN)
    assert not exposed(host=host, token=TOKEN, certificate=certificate, key=key).is_local
    assert exposed(host=host, token=TOKEN, behind_tls=True).is_private


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_alone_it_wants_neither(host: str) -> None:
    assert exposed(host=host).is_local


def test_half_a_certificate_or_a_wrong_one_is_told(files: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = files
    with pytest.raises(ConfigurationError, match="one of a certificate and its key"):
        exposed(certificate=certificate)
    with pytest.raises(ConfigurationError, match="expected: a certificate and its key"):
        exposed(certificate=key, key=key)
    with pytest.raises(ConfigurationError, match="No such file"):
        exposed(certificate=tmp_path / "none.pem", key=key)


def test_the_exporter_answers_who_has_the_token_over_tls_alone(files: tuple[Path, Path]) -> None:
    certificate, key = files
    own = exposed(token=TOKEN, certificate=certificate, key=key)
    assert TOKEN not in repr(own)
    context = ssl.create_default_context(cafile=certificate)

    def status(port: int, authorization: str) -> int:
        request = urllib.request.Request(f"https://{LOOPBACK}:{port}/metrics", headers={"Authorization": authorization})
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    with serving(Exporter([]), exposed=own, port=0) as port:
        # Who connects and says nothing keeps nobody else waiting.
        with socket.create_connection((LOOPBACK, port)):
            assert status(port, f"Bearer {TOKEN}") == 200
        for wrong in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer "):
            assert status(port, wrong) == 401
        with pytest.raises(OSError, match=r"reset|closed|Remote end|disconnected|aborted"):
            urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=30)
