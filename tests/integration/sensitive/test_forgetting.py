"""A subject is forgotten while data comes in, and stays so: not in the lake, not by a replay, not by reading the topic anew."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from dagster_project.definitions import build
from dagster_project.lake import specs
from dagster_project.outbox.publish import publish
from dagster_project.outbox.replay import replay
from dagster_project.refine.pseudonyms import Keyring
from dagster_project.services import cache as service
from dagster_project.serving.cache import Cache
from dagster_project.serving.reader import Reader
from dagster_project.settings import PSEUDONYM_KEYS, Settings
from tests.integration.lake import Lake, environment, lakehouse
from tests.integration.outbox.topic import Place, Record, send
from tests.integration.sensitive.people import CANARY, KEYS, customer, lake_of, project, searched

# Customers 0 and 10, whose names begin alike, and some in between.
SUBJECT, CUSTOMERS, WAVES = 1, 12, 4
NAME = f"{CANARY}-{SUBJECT}"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A lake in which somebody was forgotten while events came in."""

    lake: Lake
    settings: Settings
    variables: dict[str, str]
    places: set[Place]
    done: dict[str, Any]


def wave(number: int) -> list[Record]:
    """A new version of every customer; one that breaks a rule, and poison, of the subject and of another."""
    bad = [customer(who, hour=12 + number, email="none") for who in (SUBJECT, 2)]
    poison = [
        Record(f"{CANARY}-{who}".encode(), f'{{"customer_id": "{CANARY}-{who}", '.encode()) for who in (SUBJECT, 2)
    ]
    return [*(customer(who, hour=12 + number) for who in range(CUSTOMERS)), *bad, *poison]


def step(lake: Lake, settings: Settings) -> None:
    """What the sensors would start, each of which must succeed, if at a further try of its own."""
    with dg.DagsterInstance.ephemeral() as instance:
        repository = build(lake.catalog, settings).get_repository_def()
        for name in ("ingest_customers", "catch_up_customers"):
            assert repository.get_job(name).execute_in_process(instance=instance).success


def forget(variables: dict[str, str]) -> dict[str, Any]:
    done = lakehouse(["forget", "customers", "--key", f"customer_id={NAME}", "--yes", "--json"], variables)
    assert done.returncode == 0, done.stdout + done.stderr
    assert NAME not in done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def scene(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = project(tmp_path_factory.mktemp("forgotten"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PSEUDONYM_KEYS, KEYS)
        lake = lake_of(folder, servers=broker, uri=str(folder / "lake"))
        settings = Settings(home=lake.home, project=folder, lake_uri=lake.storage.uri, bootstrap_servers=broker)
        variables = environment(home=lake.home, project=folder, servers=broker)
        variables |= {PSEUDONYM_KEYS: KEYS, "LAKEHOUSE_URI": lake.storage.uri}
        places: set[Place] = set()

        def arrive(number: int, keep: Callable[[Record], bool] = lambda _: True) -> None:
            sent = send(lake.dataset.topic.name, broker, filter(keep, wave(number)))
            places.update(place for place, record in sent.items() if record.key == NAME.encode())

        for number in range(2):
            arrive(number)
            step(lake, settings)
        publish(lake.dataset, storage=lake.storage, bootstrap_servers=broker)
        service.up(settings, report=print)
        ended = threading.Event()

        def others() -> int:
            """Other customers go on meanwhile, and every run of them succeeds."""
            number = 2
            while number < WAVES or not ended.is_set():
                arrive(number % WAVES, lambda record: record.key != NAME.encode())
                step(lake, settings)
                number += 1
            return number

        try:
            with ThreadPoolExecutor(1) as pool:
                meanwhile = pool.submit(others)
                try:
                    done = forget(variables)
                finally:
                    ended.set()
                assert meanwhile.result() > 2
            yield Scene(lake=lake, settings=settings, variables=variables, places=places, done=done)
        finally:
            service.down(settings)


def needles() -> list[bytes]:
    name = Keyring.parse(KEYS).first.pseudonym(NAME, domain="customer_id")
    return [f"{NAME}'".encode(), f'"{NAME}"'.encode(), name.encode()]


def test_the_command_proves_that_the_subject_is_gone(scene: Scene) -> None:
    assert scene.done["hits"] == []
    assert scene.done["objects"] > 0
    assert scene.done["rows"]["bronze/customers"] == len(scene.places) == scene.done["offsets"]
    assert scene.done["rows"]["quarantine/customers"] == 2
    # Another reader, over whatever is on disk by now, and who looks for another customer finds one.
    root = Path(scene.lake.storage.uri)
    assert list(searched(root, *needles())) == []
    assert list(searched(root, f"{CANARY}-10'".encode()))


def test_the_cache_has_forgotten_it_too(scene: Scene) -> None:
    reader = Reader(storage=scene.lake.storage, cache=Cache.of(scene.settings))
    found = reader.read(scene.lake.catalog.mart("spending"))
    assert found.source == "cache"
    ring = Keyring.parse(KEYS).first
    own, another = (ring.pseudonym(f"{CANARY}-{who}", domain="customer_id") for who in (SUBJECT, 2))
    assert own not in found.rows["customer_id"].to_list()
    assert another in found.rows["customer_id"].to_list()


def test_the_command_tells_what_kafka_keeps(scene: Scene) -> None:
    source, letters = scene.done["kafka"]
    assert (source["topic"], source["records"]) == (scene.lake.dataset.topic.name, len(scene.places))
    assert (letters["topic"], letters["records"]) == (f"{scene.lake.dataset.topic.name}.dlq", 2)
    assert source["until"].endswith("UTC")


def test_every_offset_is_accounted_for(scene: Scene) -> None:
    found = scene.lake.account()
    assert found.problems == ()
    assert (found.accounted, found.forgotten) == (True, len(scene.places))
    assert set(scene.lake.gold("spending")["customer_id"]) == {
        Keyring.parse(KEYS).first.pseudonym(f"{CANARY}-{who}", domain="customer_id")
        for who in range(CUSTOMERS)
        if who != SUBJECT
    }


def test_it_is_done_once(scene: Scene) -> None:
    again = forget(scene.variables)
    assert set(again["rows"].values()) == {0}
    assert (again["files"], again["offsets"], again["hits"]) == (0, len(scene.places), [])


def test_a_replay_of_the_letters_leaves_it_out(scene: Scene) -> None:
    lake = scene.lake
    sent = replay(lake.dataset, bootstrap_servers=lake.servers)
    assert sent.before == 2
    again = {tuple(map(int, place.split("/"))) for place in sent.replayed}
    assert again
    assert not again & scene.places
    lake.ingest()
    lake.refine()
    lake.compute()
    assert lake.account().problems == ()


def test_a_bronze_that_is_read_anew_is_without_it(scene: Scene) -> None:
    lake = scene.lake
    for spec in (specs.bronze(lake.dataset), specs.silver(lake.dataset), specs.quarantine(lake.dataset)):
        shutil.rmtree(lake.storage.table(spec.layer, spec.name))
    shutil.rmtree(lake.storage.table("gold", "spending"))
    lake.ingest()
    lake.refine()
    lake.compute()
    there = set(lake.bronze().select("_kafka_partition", "_kafka_offset").iter_rows())
    assert not there & scene.places
    found = lake.account()
    # A Bronze that is made by hand counts its batches anew, which the outbox does not know.
    assert [problem for problem in found.problems if ".dlq has " not in problem] == []
    assert (found.forgotten, found.unaccounted) == (len(scene.places), 0)
    assert list(searched(Path(lake.storage.uri), *needles())) == []


def test_what_comes_later_is_new_data(scene: Scene) -> None:
    lake = scene.lake
    send(lake.dataset.topic.name, lake.servers, [customer(SUBJECT, hour=20)])
    lake.ingest()
    lake.refine()
    name = Keyring.parse(KEYS).first.pseudonym(NAME, domain="customer_id")
    assert lake.silver().filter(pl.col("customer_id") == name).height == 1
