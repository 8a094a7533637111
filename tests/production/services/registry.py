"""A schema registry behind TLS: the one of `lakehouse up`, configured by the variables of deploy/production/compose.yaml."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dagster_project.services.java import REGISTRY, class_path, find_java
from dagster_project.services.launch import environment
from dagster_project.services.ports import LOOPBACK, free_port
from dagster_project.services.registry import MAIN, OPTIONS
from tests.production.services.certificates import Authority
from tests.production.services.process import serving


@dataclass(frozen=True, kw_only=True)
class SecureRegistry:
    """A registry that runs. It asks nobody who they are: whoever reaches it is one of the platform's.

    Attributes:
        ca: of the authority that has signed its certificate.
    """

    port: int
    ca: Path

    @property
    def url(self) -> str:
        return f"https://{LOOPBACK}:{self.port}/apis/ccompat/v7"


@contextmanager
def secure_registry(folder: Path) -> Generator[SecureRegistry]:
    """Start one with a port for TLS and no other.

    Args:
        folder: for its schemas, log and certificates; made if need be.

    Raises:
        ServerError: it does not come up.
    """
    authority = Authority(folder / "certificates")
    certificate = authority.certify("registry")
    registry = SecureRegistry(port=free_port(), ca=authority.ca)
    variables = {
        "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{folder / 'schemas'}",
        "QUARKUS_HTTP_HOST": LOOPBACK,
        "QUARKUS_HTTP_INSECURE_REQUESTS": "disabled",
        "QUARKUS_HTTP_SSL_PORT": str(registry.port),
        "QUARKUS_HTTP_SSL_CERTIFICATE_FILES": str(certificate.chain),
        "QUARKUS_HTTP_SSL_CERTIFICATE_KEY_FILES": str(certificate.key),
    }
    command = [str(find_java()), *OPTIONS, "-cp", class_path(folder=REGISTRY, report=print), MAIN]
    with serving(
        command,
        log=folder / "registry.log",
        answers=lambda: _listens(registry.port),
        environment={**environment(), **variables},
    ):
        yield registry


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
