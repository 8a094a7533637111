"""Which major version of a dataset serves, and which are written: small numbered objects, of which the newest counts.

An object is made only where there is none of its number, which every store can do at once or not at all. So each change is
decided between all who try it, and what was before stays to be read.
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import socket
import uuid
from dataclasses import asdict, dataclass, replace

from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.lake.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Release:
    """One state of a dataset's major versions.

    Attributes:
        number: of the object; 0 where nothing was ever released.
        serves: the major version that readers get.
        written: those that are kept up to date.
        action, by, at: what led to it, who did it, and when.
        id: tells this one from another of the same number, which somebody else tried to make.
    """

    number: int
    serves: int
    written: tuple[int, ...]
    action: str = ""
    by: str = ""
    at: str = ""
    id: str = ""


def newest(name: str, *, storage: Storage) -> Release | None:
    """The state that counts, or `None` before the first release.

    Raises:
        LakeError: it cannot be read.
    """
    filesystem = storage.filesystem()
    try:
        numbers = [
            int(str(path).rpartition("/")[2].partition(".")[0]) for path in filesystem.glob(_path(name, "*", storage))
        ]
        if not numbers:
            return None
        content = json.loads(filesystem.cat_file(_path(name, f"{max(numbers):08d}", storage)))
    except Exception as error:  # botocore, aiohttp and s3fs raise many unrelated kinds
        storage.check()
        raise LakeError(f"the releases of {name} cannot be read: {error}", remedy="check the store") from error
    return replace(Release(**content), written=tuple(content["written"]))


def move(
    before: Release, *, name: str, serves: int, written: tuple[int, ...], action: str, storage: Storage
) -> Release:
    """Make the state that follows another one.

    Raises:
        StaleCursorError: somebody else has made one since; nothing was changed.
        LakeError: the store cannot be written.
    """
    after = Release(
        number=before.number + 1,
        serves=serves,
        written=written,
        action=action,
        by=f"{getpass.getuser()}@{socket.gethostname()}",
        at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        id=uuid.uuid4().hex,
    )
    path = _path(name, f"{after.number:08d}", storage)
    try:
        storage.filesystem().makedirs(path.rpartition("/")[0], exist_ok=True)
        storage.create(path, json.dumps(asdict(after)).encode())
    except Exception as error:  # botocore, aiohttp and s3fs raise many unrelated kinds
        # An error does not mean "not made": the answer may have been lost.
        found = newest(name, storage=storage)
        if found is None or found.number < after.number:
            raise LakeError(f"the release of {name} cannot be written: {error}", remedy="check the store") from error
        if found.id != after.id:
            raise StaleCursorError(
                f"{name}: {found.by} has done `{found.action}` at {found.at}",
                expected="to be the only one who releases it; nothing was changed",
                remedy="look at `lakehouse release plan`, and run the command again if it is still wanted",
            ) from error
    return after


def _path(name: str, number: str, storage: Storage) -> str:
    return f"{storage.uri}/releases/{name}/{number}.json"
