"""Tables of a topic that is no more, moved out of the pipeline's way and kept readable.

A table is copied whole, compared, listed in a manifest beside the copy, and only then deleted where it was. The manifest
decides: a move that broke off before it begins anew, one that broke off after it only has to be tidied up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import fsspec

from dagster_project.errors import LakeError
from dagster_project.lake.storage import Layer, Storage

_LOG = "_delta_log/"
_MANIFEST = "_retired.json"
# Copies wait for the store and not for a core.
_COPIERS = 8

# By path in the table, what a file is recognized by: its content in the log, else its size, as names of data are unique.
Stamps = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Retirement:
    """The tables of one topic, and the folder under the lake's root that they go to."""

    storage: Storage
    cluster_id: str
    topic_id: str

    @property
    def folder(self) -> str:
        return f"{self.storage.uri}/retired/{self.cluster_id}/{self.topic_id}"

    def begun(self, tables: Iterable[tuple[Layer, str]]) -> bool:
        """Whether one of the tables was moved before."""
        filesystem = self.storage.filesystem()
        return any(_manifest(filesystem, _bare(f"{self.folder}/{layer}/{name}")) for layer, name in tables)

    def move(self, layer: Layer, name: str) -> str | None:
        """Move a table; returns where it is now, or `None` where there was none.

        Raises:
            LakeError: the copy is not the table, or somebody writes to the table; it is still where it was.
        """
        filesystem, source = self.storage.filesystem(), _bare(self.storage.table(layer, name))
        files = _stamps(filesystem, source)
        if not files:
            return None
        uri, number = f"{self.folder}/{layer}/{name}", 1
        while _manifest(filesystem, _bare(uri)):  # after a move that broke off, sensors may have made the table anew
            number += 1
            uri = f"{self.folder}/{layer}/{name}.{number}"
        target = _bare(uri)
        if filesystem.find(target):  # a copy that was never finished
            filesystem.rm(target, recursive=True)
        with ThreadPoolExecutor(_COPIERS) as pool:
            list(pool.map(lambda path: filesystem.cp_file(f"{source}/{path}", f"{target}/{path}"), files))
        if _stamps(filesystem, target) != files or _stamps(filesystem, source) != files:
            raise LakeError(
                f"the copy of {layer}/{name} in {uri} is not the table",
                expected="a table that nobody writes to, and a store with room for a copy of it",
                remedy="end all runs of this dataset and run the command again; nothing was deleted",
            )
        filesystem.pipe_file(f"{target}/{_MANIFEST}", json.dumps(files).encode())
        _delete(filesystem, source, files)
        return uri


def tidy(storage: Storage, layer: Layer, name: str) -> bool:
    """Delete what a move that broke off has left of a table; returns whether there was anything."""
    filesystem, source = storage.filesystem(), _bare(storage.table(layer, name))
    found = _stamps(filesystem, source)
    if not found:
        return False
    for folder in (name, f"{name}.*"):
        for path in filesystem.glob(f"{_bare(storage.uri)}/retired/*/*/{layer}/{folder}/{_MANIFEST}"):
            moved = json.loads(filesystem.cat_file(path))
            log_is_old = all(moved.get(file) == stamp for file, stamp in found.items() if file.startswith(_LOG))
            left = {file: stamp for file, stamp in found.items() if moved.get(file) == stamp}
            if left and log_is_old:  # else the table has gone on, or is a new one
                _delete(filesystem, source, left)
                return True
    return False


def remove(storage: Storage, layer: Layer, name: str) -> bool:
    """Delete a table; returns whether there was anything of it."""
    filesystem, source = storage.filesystem(), _bare(storage.table(layer, name))
    files = dict.fromkeys(path.removeprefix(f"{source}/") for path in map(str, filesystem.find(source)))
    _delete(filesystem, source, files)
    return bool(files)


def _delete(filesystem: fsspec.AbstractFileSystem, source: str, files: Iterable[str]) -> None:
    """Delete the log first, and of it the checkpoints and then the oldest: readers see no table, never an older one."""
    log = [path for path in sorted(files) if path.startswith(_LOG)]
    first = [path for path in log if not path.endswith(".json")]
    data = [path for path in sorted(files) if not path.startswith(_LOG)]
    for portion in (first, [path for path in log if path not in first], data):
        if portion:
            filesystem.rm([f"{source}/{path}" for path in portion])
    if not filesystem.find(source) and filesystem.isdir(source):
        filesystem.rm(source, recursive=True)  # a local disk keeps empty folders


def _stamps(filesystem: fsspec.AbstractFileSystem, table: str) -> dict[str, str]:
    found: dict[str, str] = {}
    files = cast("dict[str, dict[str, object]]", filesystem.find(table, detail=True))
    for path in sorted(files):
        name = path.removeprefix(f"{table}/")
        if name.startswith(_LOG):
            found[name] = hashlib.sha256(cast("bytes", filesystem.cat_file(path))).hexdigest()
        else:
            found[name] = str(files[path]["size"])
    return found


def _manifest(filesystem: fsspec.AbstractFileSystem, target: str) -> bool:
    return bool(filesystem.exists(f"{target}/{_MANIFEST}"))


def _bare(uri: str) -> str:
    """A URI as the file system lists it."""
    return uri.removeprefix("s3://")
