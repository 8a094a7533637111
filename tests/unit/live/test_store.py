"""The live run's store is as S3 is, where the platform relies on it."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator

import pytest

from tests.live.store import Store, store


@pytest.fixture
def server() -> Iterator[Store]:
    with store() as found:
        found.make("b")
        yield found


def ask(
    server: Store, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request(method, path, body=body, headers=headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def keys(listing: bytes) -> list[str]:
    return re.findall(r"<Key>(.*?)</Key>", listing.decode())


def test_of_two_that_create_one_object_one_does(server: Store) -> None:
    only = {"If-None-Match": "*"}

    assert ask(server, "PUT", "/b/k", b"one", only)[0] == 200
    assert ask(server, "PUT", "/b/k", b"two", only)[0] == 412
    assert ask(server, "GET", "/b/k") == (200, b"one")
    assert ask(server, "GET", "/b/k", headers={"Range": "bytes=1-1"}) == (206, b"n")
    assert ask(server, "GET", "/b/k", headers={"Range": "bytes=-2"}) == (206, b"ne")
    assert ask(server, "GET", "/b/none")[0] == 404


def test_listings_have_pages_folders_and_a_beginning(server: Store) -> None:
    for name in ("a/1", "a/2", "b/1", "c"):
        ask(server, "PUT", f"/b/{name}", b"x")

    assert keys(ask(server, "GET", "/b?list-type=2")[1]) == ["a/1", "a/2", "b/1", "c"]
    assert keys(ask(server, "GET", "/b?list-type=2&prefix=a/&start-after=a/1")[1]) == ["a/2"]
    first = ask(server, "GET", "/b?list-type=2&max-keys=3")[1]
    (token,) = re.findall(r"<NextContinuationToken>(.*?)<", first.decode())
    assert keys(ask(server, "GET", f"/b?list-type=2&continuation-token={token}")[1]) == ["c"]
    folders = ask(server, "GET", "/b?list-type=2&delimiter=/")[1].decode()
    assert re.findall(r"<CommonPrefixes><Prefix>(.*?)<", folders) == ["a/", "b/"]
    assert keys(folders.encode()) == ["c"]


def test_what_it_had_is_there_when_it_runs_again() -> None:
    with store() as found:
        found.make("b")
        ask(found, "PUT", "/b/k", b"one")
    with pytest.raises(ConnectionRefusedError):
        ask(found, "GET", "/b/k")
    with store(found):
        assert ask(found, "GET", "/b/k") == (200, b"one")
