"""A cache behind TLS with users: the platform uses it with the rights that docs/serving.md lists, and says who refuses it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import redis

from dagster_project.alerts import conditions
from dagster_project.errors import CacheError
from dagster_project.serving.cache import Cache
from dagster_project.serving.publish import publish
from dagster_project.serving.reader import Reader
from dagster_project.serving.status import status
from dagster_project.settings import REPOSITORY
from tests.production.services.cache import RIGHTS, SecureCache
from tests.unit.lakes import Lake, reading, small_catalog


@pytest.fixture
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    found = Lake.at(tmp_path_factory.mktemp("lake"), catalog=small_catalog(tmp_path_factory.mktemp("contracts")))
    found.arrive(reading(0, "a", day=1, region="eu", level=1), reading(1, "b", day=2, region="us", level=2))
    found.refine()
    found.compute()
    return found


def cache_of(variables: Mapping[str, str], lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Cache:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Cache(lambda: variables["REDIS_URL"], storage=lake.storage)


def keys_of(secured: SecureCache) -> set[object]:
    variables = secured.variables("platform")
    client = redis.Redis.from_url(variables["REDIS_URL"], ssl_ca_certs=variables["REDIS_CA_LOCATION"])
    with client:
        return set(client.scan_iter(match="lakehouse:*"))


def test_the_platform_serves_with_the_rights_it_is_given(
    secured_cache: SecureCache, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(secured_cache.variables("platform"), lake, monkeypatch)
    assert publish(lake.mart, lake.gold, cache=cache).state == "published"
    found = Reader(storage=lake.storage, cache=cache).read(lake.mart)
    assert found.source == "cache"
    assert len(found.rows) == 2
    assert status(lake.catalog, storage=lake.storage, cache=cache).state == "available"
    assert RIGHTS in (REPOSITORY / "docs" / "serving.md").read_text()


@pytest.mark.parametrize(
    ("user", "change", "words"),
    [
        ("nobody", {}, "does not allow this to the user of REDIS_URL"),
        ("platform", {"REDIS_URL": ("platform:", "platform:not-")}, "does not let in the user of REDIS_URL"),
        ("platform", {"REDIS_CA_LOCATION": None}, "shows a certificate that nobody vouches for"),
    ],
)
def test_a_refusal_fails_no_run_and_is_told(
    secured_cache: SecureCache,
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    change: Mapping[str, tuple[str, str] | None],
    words: str,
) -> None:
    variables = secured_cache.variables(user)
    for name, replaced in change.items():
        variables[name] = "" if replaced is None else variables[name].replace(*replaced)
    before = keys_of(secured_cache)
    cache = cache_of(variables, lake, monkeypatch)
    done = publish(lake.mart, lake.gold, cache=cache)
    assert done.state == "unavailable"
    assert words in done.reason
    found = Reader(storage=lake.storage, cache=cache).read(lake.mart)
    assert found.source == "gold"
    assert len(found.rows) == 2
    told = status(lake.catalog, storage=lake.storage, cache=cache)
    assert told.state == "unavailable"
    assert words in told.reason
    with pytest.raises(CacheError) as refused:
        cache.ask(lambda client: client.ping())
    (condition,) = conditions.cache(refused.value, since=cache.since)
    assert words in condition.summary
    assert variables["REDIS_URL"].partition("@")[0] not in str(refused.value)
    assert keys_of(secured_cache) == before
