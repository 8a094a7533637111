"""An S3 server that knows who asks: who has no rights reads and writes nothing, and is told so."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import botocore.session
import polars as pl
import pytest
import s3fs

from dagster_project.contract.loader import load_catalog
from dagster_project.errors import LakeError
from dagster_project.lake import specs, table
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.settings import REPOSITORY
from tests.integration.conftest import s3_server, s3_variables

BUCKET = "identities"
ROOT = f"s3://{BUCKET}/lake"
EVERYTHING = ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
ACTIONS = {"platform": EVERYTHING, "reader": EVERYTHING[:2], "nobody": []}
_DATASETS = load_catalog(REPOSITORY / "contracts")
# A table that is there, and one that is not.
THERE, OTHER = (specs.bronze(_DATASETS.dataset(name)) for name in ("orders", "flights"))
Become = Callable[..., Storage]


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Mapping[str, str]]]:
    """Variables of each user of a server that lets in no other."""
    with s3_server(tmp_path_factory.mktemp("identities") / "server.log", {}) as url:
        asking = s3_variables(url)
        iam, s3 = _client("iam", asking), _client("s3", asking)
        s3.create_bucket(Bucket=BUCKET)
        found: dict[str, dict[str, str]] = {}
        for user, actions in ACTIONS.items():
            iam.create_user(UserName=user)
            key = iam.create_access_key(UserName=user)["AccessKey"]
            found[user] = {
                **asking,
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            }
            if actions:
                iam.put_user_policy(UserName=user, PolicyName="lake", PolicyDocument=json.dumps(_policy(actions)))
        # From now on it asks who it is.
        reset = urllib.request.Request(f"{url}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"})
        urllib.request.urlopen(reset).close()
        iam.close()
        s3.close()
        yield found


def _client(service: str, variables: Mapping[str, str]) -> Any:
    return botocore.session.Session().create_client(
        service,
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


def _policy(actions: list[str]) -> dict[str, Any]:
    resources = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": resources}]}


@pytest.fixture
def become(identities: Mapping[str, Mapping[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Become]:
    """Gives this process the identity of a user, by its environment."""

    def change(user: str, **more: str) -> Storage:
        for name, value in {**identities[user], **more}.items():
            monkeypatch.setenv(name, value)
        _forget()
        return Storage.at(ROOT)

    yield change
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    """Clients that were made for another identity."""
    s3fs.S3FileSystem.clear_instance_cache()
    table._head_reader.cache_clear()


def _objects(become: Become) -> list[str]:
    return sorted(become("platform").filesystem().find(BUCKET))


def test_the_platform_reads_and_writes(become: Become) -> None:
    storage = become("platform")
    assert Table.open(THERE, storage=storage).version == 0
    storage.create(f"{ROOT}/one.json", b"{}")
    with pytest.raises(FileExistsError):
        storage.create(f"{ROOT}/one.json", b"[]")


@pytest.mark.parametrize(
    ("user", "change"),
    [
        ("nobody", {}),
        ("platform", {"AWS_SECRET_ACCESS_KEY": "not-the-one"}),
        ("platform", {"AWS_ACCESS_KEY_ID": "AKIANOBODY"}),
    ],
)
def test_who_has_no_rights_reads_and_writes_nothing_and_is_told(
    become: Become, user: str, change: Mapping[str, str]
) -> None:
    Table.open(THERE, storage=become("platform"))
    before = _objects(become)
    storage = become(user, **change)
    for attempt in (
        lambda: Table.find(THERE, storage=storage),
        lambda: Table.open(OTHER, storage=storage),
        storage.check,
    ):
        with pytest.raises(LakeError, match=f"^no leave to list {ROOT}") as refused:
            attempt()
        assert "AWS_SECRET_ACCESS_KEY" in refused.value.remedy
        assert storage.options["AWS_SECRET_ACCESS_KEY"] not in str(refused.value)
    with pytest.raises(PermissionError):
        storage.create(f"{ROOT}/another.json", b"{}")
    assert _objects(become) == before


def test_who_may_only_read_is_told_what_it_may_not(become: Become) -> None:
    Table.open(THERE, storage=become("platform"))
    before = _objects(become)
    storage = become("reader")
    found = Table.find(THERE, storage=storage)
    assert found is not None
    empty = pl.DataFrame(schema=dict(found.schema))
    with pytest.raises(LakeError, match=f"^no leave to make {ROOT}/bronze/flights"):
        Table.open(OTHER, storage=storage)
    with pytest.raises(LakeError, match=f"^no leave to commit to {ROOT}/bronze/orders"):
        found.commit(empty, cursors={"cursor": 1})
    with pytest.raises(LakeError, match=f"^no leave to write {ROOT}/bronze/orders/"):
        found.commit(empty.clear(1), cursors={"cursor": 1})
    assert _objects(become) == before
