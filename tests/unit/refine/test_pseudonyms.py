"""Pseudonyms: one for a value, for whoever has the key, and nothing of the value or the key in sight."""

from __future__ import annotations

import base64
import hashlib
import hmac
import stat
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.errors import ConfigurationError
from dagster_project.refine.pseudonyms import PATTERN, Keyring
from dagster_project.settings import PSEUDONYM_KEYS, make_pseudonym_keys, pseudonym_keys

ONE, TWO = bytes(range(32)), bytes(range(32, 80))
KEYS = ",".join(f"{name}:{base64.b64encode(secret).decode()}" for name, secret in (("b", TWO), ("a", ONE)))


def by_hand(secret: bytes, name: str, domain: str, text: str) -> str:
    """RFC 2104's own construction, without the library's."""
    block = secret.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + domain.encode() + b"\0" + text.encode()).digest()
    return f"{name}.{hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).hexdigest()[:32]}"


@given(st.lists(st.none() | st.text(max_size=5), max_size=30))
def test_each_value_has_its_keyed_hash_and_null_has_none(values: list[str | None]) -> None:
    found = Keyring.parse(KEYS).pseudonyms(pl.Series(values, dtype=pl.String), domain="who")
    assert found.to_list() == [None if value is None else by_hand(TWO, "b", "who", value) for value in values]
    assert found.drop_nulls().str.contains(PATTERN).all()


def test_a_number_has_the_pseudonym_of_its_text() -> None:
    keys = Keyring.parse(KEYS)
    numbers, texts = (keys.pseudonyms(pl.Series(values), domain="who") for values in ([7, None, 7], ["7", None, "7"]))
    assert numbers.to_list() == texts.to_list() == [by_hand(TWO, "b", "who", "7"), None, by_hand(TWO, "b", "who", "7")]


def test_domains_and_keys_tell_equal_values_apart() -> None:
    keys = Keyring.parse(KEYS)
    (one,), (other,) = (keys.pseudonyms(pl.Series(["x"]), domain=domain).to_list() for domain in ("who", "where"))
    assert one != other
    assert keys.all_of("x", domain="who") == [by_hand(TWO, "b", "who", "x"), by_hand(ONE, "a", "who", "x")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "is not set"),
        ("c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA==", "key 1 has no name"),
        ("K1:c2VjcmV0", "key 1 has no name"),
        ("k1:c2VjcmV0", "key 'k1' is no base64 of at least 32 bytes"),
        ("k1:secret!", "key 'k1' is no base64"),
        (f"{KEYS},a:{base64.b64encode(ONE).decode()}", "names b, a, a"),
    ],
)
def test_a_keyring_that_is_none_is_named_without_its_secrets(
    text: str, found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(PSEUDONYM_KEYS, text)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError) as refused:
        Keyring.load()
    assert found in str(refused.value)
    assert PSEUDONYM_KEYS in str(refused.value)
    for secret in ("c2VjcmV0", "secret", base64.b64encode(ONE).decode()):
        assert secret not in str(refused.value).replace("secret store", "")


def test_nothing_prints_a_secret() -> None:
    keys = Keyring.parse(KEYS)
    assert base64.b64encode(ONE).decode() not in repr(keys)
    assert repr(ONE)[2:10] not in repr(keys)


def test_a_local_secret_is_made_once_for_its_user_alone(tmp_path: Path) -> None:
    environment = {"LAKEHOUSE_HOME": str(tmp_path)}
    assert pseudonym_keys(environment) == ""
    make_pseudonym_keys(tmp_path)
    made = pseudonym_keys(environment)
    assert Keyring.parse(made).first.name == "local"
    (file,) = (tmp_path / "services").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
    make_pseudonym_keys(tmp_path)
    assert pseudonym_keys(environment) == made
    assert pseudonym_keys({**environment, PSEUDONYM_KEYS: KEYS}) == KEYS


def test_the_hash_is_the_one_of_the_standard() -> None:
    """RFC 4231, test case 2 of HMAC-SHA-256, to hold the oracle of these tests itself."""
    key, message = b"Jefe", b"what do ya want for nothing?"
    assert hmac.digest(key, message, "sha256").hex().startswith("5bdcc146bf60754e6a042426089575c7")
    digest = hmac.digest(key, b"who\0x", "sha256").hex()
    assert by_hand(key, "k", "who", "x") == f"k.{digest[:32]}"
