"""An S3 server behind TLS that knows its users, and makes an object at once or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session

from dagster_project.services.ports import LOOPBACK, free_port
from dagster_project.settings import REPOSITORY
from tests.production.services.certificates import Authority
from tests.production.services.process import ServerError, serving

BUCKET = "lakehouse"
REGION = "us-east-1"
# What users may do with the bucket and with its objects. `reader` is for those who only look, such as the live page.
USERS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "platform": (
        ("s3:ListBucket", "s3:GetBucketLocation"),
        ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
    ),
    "reader": (("s3:ListBucket", "s3:GetBucketLocation"), ("s3:GetObject",)),
    "nobody": ((), ()),
}
_ROOT = "root"
PROGRAM = REPOSITORY / "tests" / "production" / "services" / "target" / "bin" / "versitygw"


@dataclass(frozen=True, kw_only=True)
class SecureStore:
    """A server that runs, with one bucket.

    Attributes:
        ca: of the authority that has signed its certificate.
    """

    port: int
    ca: Path
    _secrets: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"https://{LOOPBACK}:{self.port}"

    def variables(self, user: str, *, prefix: str = "lake") -> dict[str, str]:
        """What a process of this user has in its environment."""
        return {
            "LAKEHOUSE_URI": f"s3://{BUCKET}/{prefix}",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": self._secrets[user],
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CA_BUNDLE": str(self.ca),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, user: str = _ROOT, **own: Any) -> Any:
        """A client of botocore; root may do everything."""
        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=user,
            aws_secret_access_key=self._secrets[user],
            verify=str(self.ca),
            **own,
        )


@contextmanager
def secure_store(folder: Path) -> Generator[SecureStore]:
    """Start a versitygw over a folder.

    Args:
        folder: for its objects, log and certificates; made if need be.

    Raises:
        ServerError: it was not built, or does not come up.
    """
    authority = Authority(folder / "certificates")
    certificate = authority.certify("store")
    store = SecureStore(
        port=free_port(),
        ca=authority.ca,
        _secrets={user: secrets.token_urlsafe(24) for user in (_ROOT, *USERS)},
    )
    users, objects = folder / "users", folder / "objects"
    for path in (users, objects):
        path.mkdir(mode=0o700)
    accounts = {user: {"access": user, "secret": store._secrets[user], "role": "user"} for user in USERS}
    (users / "users.json").write_text(json.dumps({"accessAccounts": accounts}))
    command = [_program(), "--port", f"{LOOPBACK}:{store.port}", "--region", REGION]
    command += ["--cert", str(certificate.chain), "--key", str(certificate.key), "--iam-dir", str(users), "--quiet"]
    command += ["posix", str(objects)]
    # Not on the command line, which every user of the machine may read.
    environment = {**os.environ, "ROOT_ACCESS_KEY": _ROOT, "ROOT_SECRET_KEY": store._secrets[_ROOT]}
    with serving(command, log=folder / "store.log", answers=lambda: _answers(store), environment=environment):
        client = store.client()
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(_policy()))
        client.close()
        yield store


def _policy() -> dict[str, Any]:
    whole, each = f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": [user]}, "Action": list(actions), "Resource": resource}
            for user, rights in USERS.items()
            for actions, resource in zip(rights, (whole, each), strict=True)
            if actions
        ],
    }


def _answers(store: SecureStore) -> bool:
    client = store.client(config=botocore.config.Config(connect_timeout=1, retries={"max_attempts": 0}))
    try:
        client.list_buckets()
    except botocore.exceptions.BotoCoreError:
        return False
    finally:
        client.close()
    return True


def _program() -> str:
    if PROGRAM.exists():
        return str(PROGRAM)
    if path := shutil.which("versitygw"):
        return path
    raise ServerError(f"no versitygw at {PROGRAM}; run {PROGRAM.parents[2] / 'setup.sh'}")
