"""The contracts of an earlier git revision, and which of their promises today's contracts break."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dagster_project.contract.change import Change
from dagster_project.contract.diff import compare, is_major
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.errors import ContractError


@dataclass(frozen=True, kw_only=True)
class BrokenPromise:
    """A contract that changed in a breaking way within one major version, or went away.

    Attributes:
        old, new: versions; no new one where the contract is gone.
        changes: the breaking ones.
    """

    name: str
    old: str
    new: str
    changes: tuple[Change, ...]


def broken_promises(folder: Path, *, revision: str) -> list[BrokenPromise]:
    """Compare a folder of contracts with what it was in a git revision.

    Raises:
        ContractError: contracts of either are not valid, or git does not know the folder or the revision.
    """
    before, now = _at(folder, revision), _by_name(load_catalog(folder))
    broken: list[BrokenPromise] = []
    for name, old in before.items():
        new = now.get(name)
        if new is None and any(isinstance(item, type(old)) and item.name == old.name for item in now.values()):
            continue  # a newer major version has taken its place
        if new is None:
            gone = Change(path=name, verdict="breaking", what="removed", reason="its tables get no more rows")
            broken.append(BrokenPromise(name=old.name, old=old.version, new="", changes=(gone,)))
            continue
        changes = tuple(change for change in compare(old, new) if change.verdict == "breaking")
        if changes and not is_major(old.version, new.version):
            broken.append(BrokenPromise(name=old.name, old=old.version, new=new.version, changes=changes))
    return broken


def _by_name(catalog: Catalog) -> dict[str, Dataset | Mart]:
    datasets: dict[str, Dataset | Mart] = {f"dataset {item.table}": item for item in catalog.every_version()}
    return datasets | {f"mart {item.name}": item for item in catalog.marts}


def _at(folder: Path, revision: str) -> dict[str, Dataset | Mart]:
    command = ["git", "archive", "--format=tar", revision, "."]
    answer = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if answer.returncode != 0:
        raise ContractError(
            f"git does not give {folder} at {revision!r}: {answer.stderr.decode(errors='replace').strip()}",
            expected="a folder of contracts that this revision has",
            remedy="name another revision, or commit the contracts first",
        )
    with (
        tempfile.TemporaryDirectory(prefix="contracts-") as place,
        tarfile.open(fileobj=io.BytesIO(answer.stdout)) as tar,
    ):
        tar.extractall(place, filter="data")
        return _by_name(load_catalog(Path(place)))
