"""What the platform is made of: `sbom.cdx.json` in CycloneDX, and the licences of all of it on docs/licences.md.

Both come from requirements.lock and from what the installed packages say of themselves; `--check` only compares.
"""

# The library's classes are wrapped by decorators that lose their types.
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
LOCK, SBOM, PAGE = ROOT / "requirements.lock", ROOT / "sbom.cdx.json", ROOT / "docs" / "licences.md"
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
# What packages call a licence, by what SPDX calls it.
_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "CC0": "CC0-1.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# Of packages that only other systems install, so that they cannot be asked here.
ELSEWHERE = {
    "async-timeout": "Apache-2.0",
    "colorama": "BSD-3-Clause",
    "httpx2-jsfetch": "BSD-3-Clause",
    "pyreadline3": "BSD-3-Clause",
    "pywin32": "PSF-2.0",
}
# Which the platform may be distributed with, and used with by anybody. MPL-2.0 asks for its own files alone, which nobody changes.
ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC",
        "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
# Whose licence asks for its own code to stay open and replaceable: used as they are, as libraries of their own.
AS_LIBRARIES = {"psycopg2-binary": "GNU Library or Lesser General Public License (LGPL)"}


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package of the lock.

    Attributes:
        licence: as SPDX writes it where that can be told, or else as the package does; empty where it says nothing.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str

    @property
    def is_allowed(self) -> bool:
        """Whether all of what must be kept to is allowed, or one of what may be chosen."""
        if self.licence and AS_LIBRARIES.get(self.name) == self.licence:
            return True
        choices = self.licence.replace("(", "").replace(")", "").split(" OR ")
        return any(set(choice.split(" AND ")) <= ALLOWED for choice in choices)


def packages() -> list[Package]:
    found: list[Package] = []
    for block in re.split(r"\n(?=[a-z0-9])", LOCK.read_text()):
        if pin := _PIN.match(block):
            name, version = pin.groups()
            found.append(
                Package(name=name, version=version, hashes=tuple(_HASH.findall(block)), licence=_licence(name))
            )
    return list({package.name: package for package in found}.values())


def _licence(name: str) -> str:
    try:
        said = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ELSEWHERE.get(name, "")
    if expression := said.get("License-Expression"):
        return expression
    classifiers = [
        line.rpartition(":: ")[2] for line in said.get_all("Classifier", []) if line.startswith("License ::")
    ]
    names = [_SPDX.get(line, line) for line in classifiers if line not in ("OSI Approved", "DFSG approved")]
    if names:
        return " AND ".join(names)
    first = (said.get("License") or "").strip().partition("\n")[0]
    return _SPDX.get(first, first)


def sbom(found: list[Package]) -> str:
    """The bill of materials: no time and no number of its own, so that the same lock has the same one."""
    bom = Bom(components=[_component(package) for package in found])
    bom.metadata.component = Component(
        name="dagster-lakehouse", type=ComponentType.APPLICATION, bom_ref="dagster-lakehouse"
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    document.pop("serialNumber", None)
    document.get("metadata", {}).pop("timestamp", None)
    document.pop("dependencies", None)  # the lock does not say them, and nothing is not the same as none
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _component(package: Package) -> Component:
    url = PackageURL("pypi", None, package.name, package.version)
    return Component(
        name=package.name,
        version=package.version,
        purl=url,
        bom_ref=str(url),
        licenses=[DisjunctiveLicense(name=package.licence)] if package.licence else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in package.hashes],
    )


def page(found: list[Package]) -> str:
    by_licence: dict[str, list[Package]] = defaultdict(list)
    for package in found:
        by_licence[package.licence or "unknown"].append(package)
    lines = [
        f"| {licence} | {', '.join(f'{package.name} {package.version}' for package in own)} |"
        for licence, own in sorted(by_licence.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    return "\n".join((*_intro(found), *lines, ""))


def _intro(found: list[Package]) -> Iterator[str]:
    yield "# Licences"
    yield ""
    yield f"Of all {len(found)} packages that requirements.lock may install, those of tests and tools among them, as they say themselves."
    yield "Made by `make sbom`, with [the bill of materials](../sbom.cdx.json); a test fails where a licence is unknown, or asks for more"
    yield "than to be named."
    yield ""
    yield "| licence | packages |"
    yield "| --- | --- |"


def main(arguments: list[str]) -> int:
    found = packages()
    written = {SBOM: sbom(found), PAGE: page(found)}
    if "--check" in arguments:
        stale = [
            str(path.relative_to(ROOT))
            for path, text in written.items()
            if not path.exists() or path.read_text() != text
        ]
        if stale:
            sys.stderr.write(f"{', '.join(stale)}: not what requirements.lock says; run `make sbom`\n")
        return bool(stale)
    for path, text in written.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
