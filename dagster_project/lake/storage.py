"""Where the tables live: one root, on local disk or S3, and the three libraries' options for it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import fsspec

from dagster_project.errors import LakeError
from dagster_project.lake import meter

Layer = Literal["bronze", "silver", "quarantine", "gold", "ledger", "ops"]
LAYERS: tuple[Layer, ...] = ("bronze", "silver", "quarantine", "gold", "ledger", "ops")


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The root of the lake.

    Attributes:
        uri: an absolute local path or `s3://bucket/prefix`.
        options: object-store options for delta-rs and polars; empty for local disk.
        run_id: of the Dagster run that writes, for its commits to name; empty outside of one.
    """

    uri: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    run_id: str = ""

    @classmethod
    def at(cls, uri: str, environment: Mapping[str, str] = os.environ) -> Storage:
        """The storage at a URI, with the standard AWS variables for S3."""
        if not uri.startswith("s3://"):
            return cls(uri=uri)
        options = {name: environment[name] for name in _AWS_VARIABLES if environment.get(name)}
        if options.get("AWS_ENDPOINT_URL", "").startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
        if bundle := environment.get("AWS_CA_BUNDLE"):
            # Which botocore reads; delta-rs and polars can be told in no other way.
            os.environ["SSL_CERT_FILE"] = bundle
        return cls(uri=uri, options=options)

    def table(self, layer: Layer, name: str) -> str:
        """URI of a table."""
        return f"{self.uri}/{layer}/{name}"

    def filesystem(self) -> fsspec.AbstractFileSystem:
        """The file system for reading commits and checking access; listings are never cached, as other writers exist."""
        if not self.uri.startswith("s3://"):
            return fsspec.filesystem("file", auto_mkdir=True)
        # With more at a time, each read would first ask how long the file is, and list the folder where there is none: of these
        # there are many, for whoever looks for a table's next commit mostly finds that there is none yet.
        return fsspec.filesystem("s3", use_listings_cache=False, max_concurrency=1)

    def create(self, path: str, content: bytes) -> None:
        """Write a file that must not be there yet, whole or not at all.

        Raises:
            Exception: it is there already, or the store failed; it may then have been written all the same.
        """
        filesystem = self.filesystem()
        meter.wrote(len(content))  # it may come to nothing, but it is asked for
        if self.uri.startswith("s3://"):
            filesystem.pipe_file(path, content, mode="create")
            return
        # A link is made at once or not at all, and never over another file.
        staged = f"{path}.{uuid.uuid4().hex}"
        try:
            filesystem.pipe_file(staged, content)
            os.link(staged, path)
        finally:
            Path(staged).unlink(missing_ok=True)

    def check(self) -> None:
        """Prove that the lake can be listed.

        Raises:
            LakeError: credentials are wrong, the bucket is missing, or the endpoint does not answer.
        """
        if not self.uri.startswith("s3://"):
            return
        bucket = self.uri.removeprefix("s3://").partition("/")[0]
        try:
            self.filesystem().ls(bucket, refresh=True)
        except FileNotFoundError as error:
            raise LakeError(
                f"no bucket {bucket!r} at {self._endpoint}",
                expected="the bucket of LAKEHOUSE_URI to exist",
                remedy=f"create it (aws s3 mb s3://{bucket}), or set LAKEHOUSE_URI to another",
            ) from error
        except Exception as error:  # botocore, aiohttp and s3fs raise many unrelated kinds
            if is_refusal(error):
                raise denied(f"list {self.uri} at {self._endpoint}", error) from error
            raise LakeError(
                f"{self.uri} cannot be listed at {self._endpoint}: {type(error).__name__}: {error}",
                expected="a store that answers there, with a certificate that AWS_CA_BUNDLE or this system vouches for",
                remedy="check AWS_ENDPOINT_URL, AWS_REGION and AWS_CA_BUNDLE",
            ) from error

    @property
    def _endpoint(self) -> str:
        return self.options.get("AWS_ENDPOINT_URL", "AWS")


def is_refusal(error: Exception) -> bool:
    """Whether the store has turned an identity away, or a right is missing."""
    return isinstance(error, PermissionError) or any(code in str(error) for code in _REFUSALS)


def denied(what: str, error: Exception) -> LakeError:
    """What a person is told then.

    Args:
        what: was to be done.
    """
    reason = str(error).strip().partition("\n")[0]
    return LakeError(
        f"no leave to {what}: {reason}",
        expected="an identity that may list, read, write and delete in the lake",
        remedy="check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what the bucket's policy allows; of a local lake the "
        "owner of its folders",
    )


# As S3 spells them; delta-rs and polars hand them on in the text of their errors.
_REFUSALS = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403 Forbidden")
_AWS_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
)
