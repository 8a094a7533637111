"""What the platform is made of is written down, locked by hashes, and of licences that anybody may use."""

from __future__ import annotations

import json
import re

import pytest

from deploy import sbom
from deploy.sbom import Package


def test_what_is_written_down_is_what_the_lock_says() -> None:
    found = sbom.packages()
    assert len(found) > 150
    assert (sbom.SBOM.read_text(), sbom.PAGE.read_text()) == (sbom.sbom(found), sbom.page(found)), "run `make sbom`"


def test_each_package_is_there_once_with_a_version_and_hashes() -> None:
    lock = sbom.LOCK.read_text()
    components = json.loads(sbom.SBOM.read_text())["components"]
    pinned = set(re.findall(r"^([a-z0-9][^=\s]*)==", lock, re.MULTILINE))
    assert {component["name"] for component in components} == pinned
    assert len(components) == len(pinned)
    assert all(component["hashes"] and component["purl"] for component in components)
    assert "--hash" in lock
    assert not re.search(r"https?://|file:", lock)


def test_no_licence_is_unknown_or_asks_for_more_than_to_be_named() -> None:
    assert [(package.name, package.licence) for package in sbom.packages() if not package.is_allowed] == []


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MIT AND Apache-2.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("", False),
        ("UNKNOWN", False),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("MIT AND GPL-2.0-only", False),
        ("BUSL-1.1", False),
        ("LGPL-3.0-only OR GPL-3.0-only", False),
    ],
)
def test_a_licence_that_asks_for_more_is_found(licence: str, *, allowed: bool) -> None:
    assert Package(name="p", version="1", hashes=(), licence=licence).is_allowed is allowed
