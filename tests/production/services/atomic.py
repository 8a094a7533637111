"""Of many who make one object at the same time exactly one succeeds: what a commit of Delta rests on.

Not by name a test that is found: the server is built by `setup.sh` first.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3fs

from dagster_project.lake.storage import Storage
from tests.production.services.store import SecureStore, secure_store

WRITERS, ROUNDS = 16, 40


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureStore]:
    with secure_store(tmp_path_factory.mktemp("store")) as started:
        yield started


def test_one_writer_of_an_object_succeeds(store: SecureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in store.variables("platform").items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    storage = Storage.at(store.variables("platform")["LAKEHOUSE_URI"])
    reader = storage.filesystem()
    for number in range(ROUNDS):
        path = f"{storage.uri}/{number}.json"
        barrier = threading.Barrier(WRITERS)

        def write(writer: int, path: str = path, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            try:
                storage.create(path, f"writer {writer}".encode())
            except FileExistsError:
                return "lost"
            return f"writer {writer}"

        with ThreadPoolExecutor(WRITERS) as pool:
            ends = Counter(pool.map(write, range(WRITERS)))
        assert ends.pop("lost") == WRITERS - 1
        (winner,) = ends
        assert reader.cat_file(path) == winner.encode()


def test_who_has_no_rights_is_refused(store: SecureStore, tmp_path: Path) -> None:
    for user in ("nobody", "reader"):
        client = store.client(user)
        with pytest.raises(Exception, match=r"Access Denied|EOF"):  # it may hang up before the body was sent
            client.put_object(Bucket="lakehouse", Key="lake/x", Body=b"x")
        client.close()
    assert store.client().list_objects_v2(Bucket="lakehouse", Prefix="lake/x")["KeyCount"] == 0
