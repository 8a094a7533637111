"""The code that a job needs, where the cluster can read it: the job itself, and dagster-pipes beside it. Nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import dagster_pipes

from dagster_project.lake.storage import Storage

JOB = Path(__file__).with_name("job.py")
# One file and no more: no package has to be built, or installed on a cluster.
_PIPES = Path(dagster_pipes.__file__)
_FOLDER = "_code"


@dataclass(frozen=True, kw_only=True)
class Code:
    """URIs of the job, and of the archive that holds what it imports."""

    job: str
    pipes: str


def published_code(storage: Storage) -> Code:
    """Put the code beside the lake's tables, once for each version of it."""
    contents = {JOB.name: JOB.read_bytes(), "dagster_pipes.py": _PIPES.read_bytes()}
    digest = hashlib.sha256(b"".join(contents.values())).hexdigest()[:16]
    folder = f"{storage.uri}/{_FOLDER}/spark-{digest}"
    filesystem = storage.filesystem()
    for name, content in contents.items():
        if not filesystem.exists(f"{folder}/{name}"):
            filesystem.pipe_file(f"{folder}/{name}", content)
    return Code(job=f"{folder}/{JOB.name}", pipes=f"{folder}/dagster_pipes.py")
