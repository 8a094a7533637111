"""What listens where others than this machine's users reach it: with a token, and nothing in the clear."""

from __future__ import annotations

import hashlib
import hmac
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from dagster_project.errors import ConfigurationError

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
# 128 bits as hexadecimal digits have 32; half of that is beyond guessing over a network.
_TOKEN_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """Where something listens, and for whom.

    Attributes:
        what: as people are told of it, such as `the page`.
        variable: that the token comes from.
        host: the address that it listens on.
        token: that whoever asks must have; empty: everybody who reaches the address may look. In no text of this value.
        certificate, key: PEM files for TLS; none: it is spoken to in the clear.
        behind_tls: what stands before it speaks TLS, and nobody else reaches it.
    """

    what: str
    variable: str
    host: str
    token: str = field(default="", repr=False)
    certificate: Path | None = None
    key: Path | None = None
    behind_tls: bool = False

    def __post_init__(self) -> None:
        if not self.is_local and not self.token:
            raise ConfigurationError(
                f"{self.what} is to listen on {self.host}, and there is no token",
                expected="a token wherever others than this machine's users can reach it",
                remedy=f"set {self.variable} (openssl rand -hex 32), or leave --host out",
            )
        if self.token and len(self.token) < _TOKEN_LENGTH:
            raise ConfigurationError(
                f"the token of {self.what} has {len(self.token)} characters",
                expected=f"{_TOKEN_LENGTH} or more, of which nobody can guess any",
                remedy=f"set {self.variable} to the output of `openssl rand -hex 32`",
            )
        if (self.certificate is None) != (self.key is None):
            raise ConfigurationError(
                f"{self.what} has one of a certificate and its key",
                expected="both, as PEM files",
                remedy="name both --tls-cert and --tls-key, or neither",
            )
        if not (self.is_local or self.certificate or self.behind_tls):
            raise ConfigurationError(
                f"{self.what} is to listen on {self.host} without TLS: who listens on the way has the token",
                expected="TLS here, or before it",
                remedy="name --tls-cert and --tls-key; or --behind-tls, where a proxy that speaks TLS is the only one to reach it",
            )
        if self.certificate is not None:
            self.context()

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK_NAMES

    @property
    def is_private(self) -> bool:
        """Whether whoever asks does so over TLS."""
        return self.certificate is not None or self.behind_tls

    def is_token(self, text: str) -> bool:
        """Whether a text is the token; takes as long for a nearly right one as for any."""
        return bool(self.token) and hmac.compare_digest(_digest(text), _digest(self.token))

    def is_bearer(self, authorization: str) -> bool:
        """Whether an `Authorization` header has the token."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def context(self) -> ssl.SSLContext:
        """What TLS is spoken with.

        Raises:
            ConfigurationError: the files hold no certificate and the key to it.
        """
        assert self.certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"{self.certificate} and {self.key}: {error.strerror or error}",
                expected="a certificate and its key without a password, as PEM files",
                remedy="name both with --tls-cert and --tls-key",
            ) from error
        return context


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
