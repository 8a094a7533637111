"""Pseudonyms: a keyed hash in the place of a value, the same for each value of a domain, and its key's name before it."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field

import polars as pl

from dagster_project.errors import ConfigurationError
from dagster_project.settings import PSEUDONYM_KEYS, pseudonym_keys

# The whole width of SHA-256: a shorter key is easier to guess than the hash is to break (RFC 2104, section 3).
_KEY_BYTES = 32
# Half of the hash, the least that RFC 2104 (section 5) recommends to keep: two of a billion values have one pseudonym
# with a chance of 1 : 10²⁰.
_KEPT_BYTES = 16
_NAME = re.compile(r"^[a-z0-9]{1,16}$")
# A pseudonym, whichever key made it.
PATTERN = rf"^[a-z0-9]{{1,16}}\.[0-9a-f]{{{2 * _KEPT_BYTES}}}$"


@dataclass(frozen=True, kw_only=True)
class Key:
    """One secret with its name, which stands before its pseudonyms."""

    name: str
    secret: bytes = field(repr=False)

    def pseudonym(self, text: str, *, domain: str) -> str:
        # A domain holds no zero byte, so no two pairs of domain and text are one message.
        message = domain.encode() + b"\0" + text.encode()
        return f"{self.name}.{hmac.digest(self.secret, message, 'sha256')[:_KEPT_BYTES].hex()}"


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """All secrets of an installation: the first one makes pseudonyms, the others have made some that are still about."""

    keys: tuple[Key, ...]

    @classmethod
    def load(cls) -> Keyring:
        """The keyring of this process's environment.

        Like the store's credentials it is looked up where it is used and handed on by nobody: no settings, error, log
        line or pickled value can hold it.

        Raises:
            ConfigurationError: there is none, or it is malformed; no secret is in the text.
        """
        text = pseudonym_keys()
        if not text:
            raise ConfigurationError(
                f"{PSEUDONYM_KEYS} is not set, and a contract has columns to be pseudonymised",
                expected="<name>:<at least 32 random bytes in base64>, several joined with commas, the first one in use; "
                "nothing was published without it",
                remedy=f'export {PSEUDONYM_KEYS}="k1:$(openssl rand -base64 32)" from your secret store, the same '
                "wherever the platform runs; `lakehouse up` makes one for local use",
            )
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """`k2:<base64>,k1:<base64>`.

        Raises:
            ConfigurationError: it is malformed; no secret is in the text.
        """
        keys = [_key(place, entry) for place, entry in enumerate(text.split(","), 1)]
        names = [key.name for key in keys]
        if len(set(names)) < len(names):
            raise _malformed(f"names {', '.join(names)}", "a name of its own for each key")
        return cls(keys=tuple(keys))

    @property
    def first(self) -> Key:
        return self.keys[0]

    def pseudonyms(self, values: pl.Series, *, domain: str) -> pl.Series:
        """Pseudonyms of strings or integers, computed once for each value; null stays null."""
        distinct = values.drop_nulls().unique()
        texts = distinct.cast(pl.String)
        made = pl.Series([self.first.pseudonym(text, domain=domain) for text in texts], dtype=pl.String)
        return values.replace_strict(distinct, made, default=None, return_dtype=pl.String)

    def all_of(self, text: str, *, domain: str) -> list[str]:
        """What a value may be called in tables that are older than the first key."""
        return [key.pseudonym(text, domain=domain) for key in self.keys]


def _key(place: int, entry: str) -> Key:
    name, colon, encoded = entry.strip().partition(":")
    if not colon or not _NAME.match(name):
        raise _malformed(
            f"key {place} has no name", "<name>:<base64>, the name of 1 to 16 lower-case letters and digits"
        )
    try:
        secret = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) < _KEY_BYTES:
        raise _malformed(f"key {name!r} is no base64 of at least {_KEY_BYTES} bytes", "`openssl rand -base64 32`")
    return Key(name=name, secret=secret)


def _malformed(found: str, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{PSEUDONYM_KEYS}: {found}", expected=expected, remedy="correct it and run this again")
