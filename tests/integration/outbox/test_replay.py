"""Letters go back to their topic exactly once, and say where they come from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from dagster_project.contract.model import Dataset
from dagster_project.errors import KafkaError
from dagster_project.outbox import replay as replaying
from dagster_project.outbox.letters import read_letters
from dagster_project.outbox.publish import publish
from dagster_project.outbox.replay import Replay, replay
from dagster_project.settings import REPOSITORY
from tests.integration.lake import Lake, environment, lakehouse, places
from tests.integration.outbox.topic import Place, Record, consume, killed, send

CORRELATION = ("correlation_id", b"c-7")
# Replays, and kills itself in the first transaction or after it.
KILLED = """
import os, signal, sys
from dataclasses import replace
from dagster_project.contract.loader import load_catalog
from dagster_project.outbox import replay
from dagster_project.settings import REPOSITORY

topic, servers, name = sys.argv[1:]
dataset = load_catalog(REPOSITORY / "contracts").dataset("orders")
dataset = replace(dataset, topic=replace(dataset.topic, name=topic))
real = getattr(replay, name)

def then_die(*arguments, **options):
    real(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(replay, name, then_die)
replay._LETTERS = 4
replay.replay(dataset, bootstrap_servers=servers)
"""


def order(number: int, *, region: str) -> Record:
    identity = f"00000000-0000-0000-0000-{number:012d}"
    value = {
        "order_id": identity,
        "ordered_at": "2026-01-05T10:00:00Z",
        "event_time": "2026-01-05T10:00:00Z",
        "region": region,
        "status": "created",
        "customer_id": "c",
        "currency": "EUR",
        "amount": "1.00",
        "items": [{"sku": "SKU-1", "quantity": 1, "unit_price": "1.00"}],
    }
    return Record(identity.encode(), json.dumps(value).encode(), (CORRELATION, ("x", None)))


def with_region(dataset: Dataset, region: str) -> Dataset:
    """The dataset with a contract that knows one more region."""
    known = dataset.column(dataset.region)
    constraints = replace(known.constraints, enum=(*known.constraints.enum, region))
    columns = tuple(
        replace(column, constraints=constraints) if column.name == known.name else column for column in dataset.columns
    )
    return replace(dataset, regions=(*dataset.regions, region), columns=columns)


def failed(lake: Lake, records: list[Record]) -> dict[Place, Record]:
    """Send records and bring them to Bronze and on to the dead-letter queue."""
    sent = send(lake.dataset.topic.name, lake.servers, records)
    settle(lake)
    return sent


def settle(lake: Lake) -> None:
    lake.ingest()
    publish(lake.dataset, storage=lake.storage, bootstrap_servers=lake.servers)


def letters(lake: Lake) -> pl.DataFrame:
    return read_letters(lake.dataset, bootstrap_servers=lake.servers)


def again(lake: Lake, **options: object) -> Replay:
    return replay(lake.dataset, bootstrap_servers=lake.servers, **options)  # pyright: ignore[reportArgumentType]


def source(lake: Lake) -> dict[Place, Record]:
    return consume(lake.dataset.topic.name, lake.servers)


def queue(lake: Lake) -> dict[Place, Record]:
    return consume(f"{lake.dataset.topic.name}.dlq", lake.servers)


@pytest.fixture
def lake(make_lake: Callable[[str], Lake]) -> Lake:
    return make_lake("orders")


def test_after_a_fix_rows_reach_silver_once_and_say_where_they_come_from(lake: Lake) -> None:
    sent = failed(lake, [order(1, region="eu"), *(order(n, region="mars") for n in (2, 3)), Record(b"k", b"{")])
    lake.refine()
    assert len(lake.silver()) == 1
    fixed = replace(lake, dataset=with_region(lake.dataset, "mars"))

    done = again(fixed, predicate="_error LIKE 'region.%'")

    assert len(done.replayed) == 2
    settle(fixed)
    fixed.refine()
    silver = fixed.silver()
    assert sorted(silver["order_id"].str.slice(35)) == ["1", "2", "3"]
    # The message is as it was, and two headers tell of its history.
    bronze = fixed.bronze().filter(pl.col("_kind") == "event", pl.col("region") == "mars")
    assert len(bronze) == 2
    origins: set[str] = set()
    for row in bronze.iter_rows(named=True):
        (place,) = (place for place, record in sent.items() if record.value == row["_payload"])
        found = [(header["key"], header["value"]) for header in row["_headers"]]
        origin = f"{lake.dataset.topic.name}/{place[0]}/{place[1]}"
        assert found == [
            *sent[place].headers,
            ("lakehouse.replay.of", origin.encode()),
            ("lakehouse.replay.attempt", b"1"),
        ]
        assert (row["_key"], row["_correlation_id"]) == (sent[place].key, "c-7")
        assert row["_kafka_partition"] == place[0]
        origins.add(origin)
    assert len(origins) == 2
    account = fixed.account()
    assert account.accounted, account.problems
    # The receipts are in the queue, and only for these.
    told = letters(fixed)
    assert places(told.filter(pl.col("replayed_at").is_not_null())) == {
        place for place, record in sent.items() if b"mars" in (record.value or b"")
    }
    assert len(told) == 3

    before = (source(fixed), queue(fixed))
    second = again(fixed, predicate="_error LIKE 'region.%'")
    assert (second.replayed, second.before) == ((), 2)
    assert (source(fixed), queue(fixed)) == before


def test_what_fails_again_is_a_new_letter_until_its_attempts_are_used_up(lake: Lake) -> None:
    # One of them without a value, as receipts are.
    sent = failed(lake, [Record(b"a", b"{", (CORRELATION,)), Record(None, None)])
    origins = {f"{lake.dataset.topic.name}/{partition}/{offset}" for partition, offset in sent}
    (nameless,) = (f"{lake.dataset.topic.name}/{p}/{o}" for (p, o), record in sent.items() if not record.headers)
    for attempt in (1, 2):
        assert len(again(lake, max_attempts=2).replayed) == 2
        settle(lake)
        newest = letters(lake).filter(pl.col("replayed_at").is_null())
        assert newest["attempt"].to_list() == [attempt, attempt]
        assert set(newest["origin"]) == origins
        # What came without a correlation id is known by its first place for good.
        assert set(newest["_correlation_id"]) == {"c-7", nameless}
        assert len(letters(lake)) == 2 * (attempt + 1)
    fresh = failed(lake, [Record(b"b", b"[")])

    before = letters(lake)
    done = again(lake, max_attempts=2)

    assert set(done.replayed) == {f"{partition}/{offset}" for partition, offset in fresh}
    stuck = before.filter(pl.col("attempt") == 2)
    assert set(done.refused) == {f"{partition}/{offset}" for partition, offset in places(stuck)}
    # With more attempts they go again, and their headers do not pile up.
    assert len(again(lake, max_attempts=3).replayed) == 2
    last = [record for record in source(lake).values() if ("lakehouse.replay.attempt", b"3") in record.headers]
    assert [len(record.headers) for record in last] == [3, 3]


def test_a_dry_run_writes_nothing(lake: Lake) -> None:
    failed(lake, [Record(b"a", b"{"), Record(b"b", b"{")])
    before = (source(lake), queue(lake))
    done = again(lake, dry_run=True, predicate="_key = 'a'::BLOB")
    assert (len(done.replayed), done.dry_run) == (1, True)
    assert (source(lake), queue(lake)) == before


@pytest.mark.parametrize(("name", "there"), [("send_again", 0), ("commit_replay", 4)])
def test_a_replay_that_was_killed_is_finished_by_the_next_one(lake: Lake, name: str, there: int) -> None:
    sent = failed(lake, [Record(f"k{number}".encode(), b"{%d" % number) for number in range(10)])
    killed(KILLED, lake.dataset.topic.name, lake.servers, name)

    done = again(lake)

    assert len(done.replayed) == 10 - there
    assert sorted(record.value or b"" for record in source(lake).values()) == sorted(
        2 * [record.value or b"" for record in sent.values()]
    )
    assert letters(lake)["replayed_at"].null_count() == 0
    assert again(lake).replayed == ()


@pytest.mark.parametrize("name", ["send_again", "commit_replay"])
def test_of_two_replays_the_older_one_is_shut_out(lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    failed(lake, [Record(f"k{number}".encode(), b"{") for number in range(5)])
    real = getattr(replaying, name)

    def interrupted(*arguments: object, **options: object) -> None:
        monkeypatch.setattr(replaying, name, real)
        assert len(again(lake).replayed) == 5
        real(*arguments, **options)

    monkeypatch.setattr(replaying, name, interrupted)
    with pytest.raises(KafkaError, match="took over"):
        again(lake)
    assert len(source(lake)) == 10
    assert again(lake).replayed == ()


def test_the_commands_list_show_and_replay(lake: Lake, tmp_path: Path) -> None:
    sent = failed(lake, [order(1, region="mars"), Record(b"\xff", b"{\xff", (CORRELATION,))])
    project = tmp_path / "project"
    shutil.copytree(REPOSITORY / "contracts", project / "contracts")
    contract = project / "contracts" / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("commerce.orders.v1", lake.dataset.topic.name))
    variables = environment(home=lake.home, project=project, servers=lake.servers)

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        done = lakehouse(["dlq", *arguments], variables)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr

    (mars,) = (f"{place[0]}/{place[1]}" for place, record in sent.items() if b"mars" in (record.value or b""))
    (odd,) = (f"{place[0]}/{place[1]}" for place, record in sent.items() if record.key == b"\xff")
    listed = json.loads(run("list", "orders", "--json")[0])
    assert {f"{row['_kafka_partition']}/{row['_kafka_offset']}" for row in listed} == {mars, odd}
    text, _ = run("list", "orders", "--where", "_error LIKE 'region.%'")
    assert mars in text
    assert "region.enum: not one of eu, us, apac" in text
    assert odd not in text
    shown = json.loads(run("show", "orders", odd, "--json")[0])
    assert (shown["_key"], shown["_payload"], shown["_payload_base64"]) == ("\\xff", "{\\xff", "e/8=")
    assert "c-7" in run("show", "orders", odd)[0]
    _, error = run("show", "orders", "0/999", code=1)
    assert "no letter 0/999" in error
    _, error = run("replay", "orders", "--where", "nonsense = 1", code=1)
    assert "written_at" in error
    assert json.loads(run("replay", "orders", "--dry-run", "--json")[0])["replayed"] == [
        f"{row['_kafka_partition']}/{row['_kafka_offset']}" for row in listed
    ]
    done = json.loads(run("replay", "orders", "--where", "_error LIKE 'region.%'", "--json")[0])
    assert done["replayed"] == [mars]
    assert "1 letters sent once more" in run("replay", "orders")[0]
    settle(lake)
    _, error = run("replay", "orders", "--max-attempts", "1", code=1)
    assert "2 failed after 1 replays and are refused" in error
