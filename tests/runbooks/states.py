"""What broken states are made of: a project to be edited, its lake, a person's hand, and the runs that go on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dagster_project.contract.loader import load_catalog
from dagster_project.errors import LakehouseError
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine
from dagster_project.settings import REPOSITORY
from tests.runbooks.rehearsal import State
from tests.runbooks.shell import shell
from tests.unit.lakes import Lake


def project(folder: Path, *names: str) -> Path:
    """A folder with contracts of the project's own, to be edited."""
    source, target = REPOSITORY / "contracts", folder / "contracts"
    (target / "marts").mkdir(parents=True, exist_ok=True)
    for name in names:
        for path in source.glob(f"{name}.*"):
            shutil.copyfile(path, target / path.relative_to(source))
    return folder


def lake_in(folder: Path, dataset: str) -> Lake:
    """The lake of a project, to be filled by hand, from where it was left."""
    catalog, storage = load_catalog(folder / "contracts"), lake_storage(folder)
    contract = catalog.dataset(dataset)
    bronze = Table.find(specs.bronze(contract), storage=storage)
    lake = Lake(catalog=catalog, storage=storage, dataset=contract)
    if bronze is not None and (cursor := Cursor.from_table(bronze.cursors())) is not None:
        lake.cursor = cursor
    return lake


def lake_storage(folder: Path) -> Storage:
    return Storage.at(str(folder / "home" / "lake"))


def state(folder: Path, *, edit: tuple[str, str] | None = None, outside: Callable[[], object] = lambda: None) -> State:
    """A broken state on a lake alone.

    Args:
        edit: what `$EDITOR` replaces in the file that it is given, and by what.
        outside: what the page has others do.
    """
    return State(
        shell=shell(folder, editor(folder, *edit) if edit else {}),
        work=lambda: refine_and_compute(folder),
        outside=outside,
    )


def refine_and_compute(folder: Path) -> None:
    """The runs of Silver and Gold, by the contracts as they are now; one that fails would be tried again."""
    catalog, storage = load_catalog(folder / "contracts"), lake_storage(folder)
    for dataset in catalog.datasets:
        with suppress(LakehouseError):
            list(refine(dataset, storage=storage, keys=None))
    for mart in catalog.marts:
        with suppress(LakehouseError):
            list(compute(mart, catalog=catalog, storage=storage, keys=None))


def editor(folder: Path, old: str, new: str) -> dict[str, str]:
    """A person's hand: `$EDITOR` replaces one text by another one, which must be there."""
    path = folder / "editor.py"
    path.write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[1])\n"
        f"old, new = {old!r}, {new!r}\n"
        "assert old in path.read_text()\n"
        "path.write_text(path.read_text().replace(old, new))\n"
    )
    return {"EDITOR": f"{sys.executable} {path}"}
