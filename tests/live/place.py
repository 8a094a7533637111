"""A platform that runs under a stream: its project, its variables, its producer, and how it is asked and read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.lake.storage import Storage
from dagster_project.services import kafka
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.lake import COMMAND_PATIENCE, command

# What differs from the project's contracts, behind the line of which property. A region of the busiest small stream is silent
# after half a minute, not after ten, which is as long as the whole run. And of a platform that has just begun one moment is half
# of all there were: with targets of 99 in 100 a first look before there is a table would be told of as a burning budget.
# A customer's record may be as old as the customer, so that at first one region is days behind another.
_IDLE = (
    ("orders", "writeMode", "{property: idleAfter, value: PT20S}"),
    ("customers", "writeMode", "{property: idleAfter, value: P3D}"),
)
_TARGETS = tuple(
    ("", "freshness", f"{{property: {name}, value: 50, unit: percent}}")
    for name in ("freshnessTarget", "lagTarget", "availability")
)


def project(folder: Path, *, datasets: Iterable[str], marts: Iterable[str] | None = None) -> Path:
    """A project with these datasets and the marts that come from them alone, or of these only those that are named."""
    source, target = REPOSITORY / "contracts", folder / "contracts"
    catalog = load_catalog(source)
    chosen = set(datasets)
    (target / "marts").mkdir(parents=True)
    for name in chosen:
        text = (source / f"{name}.odcs.yaml").read_text(encoding="utf-8")
        for dataset, behind, line in (*_IDLE, *_TARGETS):
            if dataset in {"", name}:
                text, count = re.subn(rf"(?m)^( *- )\{{property: {behind}, .*$", rf"\g<0>\n\g<1>{line}", text)
                assert count == 1, f"{name}: {count} lines of {behind}"
        (target / f"{name}.odcs.yaml").write_text(text, encoding="utf-8")
    for mart in catalog.marts:
        if catalog.origins(mart) <= chosen and (marts is None or mart.name in marts):
            for path in (source / "marts").glob(f"{mart.name}.*"):
                shutil.copyfile(path, target / "marts" / path.name)
    return folder


@dataclass(kw_only=True)
class Place(ABC):
    """Attributes: `variables`: of every command that is about this platform."""

    home: Path
    settings: Settings
    variables: Mapping[str, str]
    catalog: Catalog = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = load_catalog(self.settings.contracts)

    @property
    def servers(self) -> str:
        return kafka.bootstrap_servers(self.settings)

    @property
    def storage(self) -> Storage:
        """The lake as the platform finds it."""
        return Storage.at(self.settings.lake_uri, self.variables)

    def lakehouse(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command, as a person gives it."""
        return subprocess.run(
            command(*arguments),
            env=dict(self.variables),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=2 * COMMAND_PATIENCE,
            check=False,
        )

    @abstractmethod
    def check(self) -> None:
        """Fail if the platform has."""


def shop(
    found: Place, module: str, *arguments: str, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """A producer as a process of its own; what it tells of itself is in `shop.log`.

    Args:
        variables: its own, where it is another user than who asks.
    """
    with (found.home / "shop.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=dict(variables or found.variables),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


@contextmanager
def setting(values: Mapping[str, str]) -> Generator[None]:
    """This process reads the lake with the platform's code, too: for where it stands, and for the oracle's other side."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
