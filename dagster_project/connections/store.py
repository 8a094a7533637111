"""A place in a store, tried with all that the tables ask of it."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress

from deltalake import DeltaTable

from dagster_project.errors import LakeError
from dagster_project.lake.storage import Storage

_FIRST, _SECOND = b"first", b"second"
_REFUSALS = ("PreconditionFailed", "412")


def try_out(storage: Storage, *, variable: str) -> str:
    """List, write, write once more only if it is not there, read and delete an object of its own name.

    Args:
        variable: that says where it is.

    Raises:
        LakeError: one of these does not work.
    """
    storage.check()
    filesystem = storage.filesystem()
    path = f"{storage.uri}/_config_check_{uuid.uuid4().hex}"
    with _doing("be listed", storage, variable), suppress(FileNotFoundError):  # nothing was written there yet
        filesystem.ls(storage.uri, refresh=True)
    with _doing("be listed by delta-rs, which has a client of its own,", storage, variable):
        DeltaTable.is_deltatable(path, storage_options=dict(storage.options))
    with _doing("be written to", storage, variable):
        storage.create(path, _FIRST)
    try:
        _create_again(storage, path, variable)
        with _doing("be read", storage, variable):
            content = filesystem.cat_file(path)
        if content != _FIRST:
            raise _not_atomic(storage)
    finally:
        with _doing("have an object deleted", storage, variable):
            filesystem.rm_file(path)
    return f"{storage.uri}: listed, written, written only if absent, read and deleted"


def _create_again(storage: Storage, path: str, variable: str) -> None:
    with _doing("be written to only where nothing is", storage, variable):
        try:
            storage.create(path, _SECOND)
        except OSError as error:
            if _is_there(error):
                return
            raise
    raise _not_atomic(storage)


def _is_there(error: OSError) -> bool:
    """Whether the store has refused to write over an object; s3fs knows it only from stores that say so as AWS does."""
    response = getattr(error.__cause__, "response", {})
    return isinstance(error, FileExistsError) or response.get("Error", {}).get("Code") in _REFUSALS


def _not_atomic(storage: Storage) -> LakeError:
    return LakeError(
        f"{storage.uri}: an object was written over by a write that was to make a new one",
        expected="a store that refuses it (PUT with If-None-Match: *), or two writers could commit one version of a table",
        remedy="take a store that has conditional writes: AWS S3, MinIO, Ceph and others in their newer releases",
    )


@contextmanager
def _doing(what: str, storage: Storage, variable: str) -> Generator[None]:
    try:
        yield
    except (LakeError, FileNotFoundError):
        raise
    except Exception as error:  # botocore, aiohttp, s3fs and delta-rs raise many unrelated kinds
        raise LakeError(
            f"{storage.uri} cannot {what}: {type(error).__name__}: {error}",
            expected="an identity that may list, read, write and delete there",
            remedy=f"check {variable}, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and "
            "AWS_CA_BUNDLE, and what the bucket's policy allows",
        ) from error
