"""Events that were deleted unread stop the ingest until a person gives them up, and are never forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from dagster_project.errors import OffsetLossError
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.ledger.losses import declare, deleted
from dagster_project.sources.orders import Orders
from dagster_project.topics.broker import Broker
from dagster_project.topics.offsets import Offsets
from tests.integration.accounting.kafka import delete_before
from tests.integration.lake import Lake, environment, lakehouse, places


def cursor(lake: Lake) -> Cursor:
    found = Cursor.from_table(lake.table(specs.bronze(lake.dataset)).cursors())
    assert found is not None
    return found


def accept(lake: Lake) -> Offsets:
    topic, at = Broker(lake.servers).topic(lake.dataset.topic.name), cursor(lake)
    return declare(
        lake.dataset,
        topic,
        losses=deleted(at.next, topic),
        reason="disk full",
        by="ann",
        batch_id=at.batch_id,
        storage=lake.storage,
    )


def finish(lake: Lake) -> None:
    lake.ingest()
    lake.refine()
    lake.compute()


def test_loss_is_loud_declared_and_counted(make_lake: Callable[[str], Lake]) -> None:
    lake = make_lake("orders")
    source = Orders(dataset=lake.dataset, events=4000, seed=3)
    lake.produce(source, limit=2000)
    finish(lake)
    assert lake.account().accounted
    before, read = cursor(lake), places(lake.bronze())
    lake.produce(source)
    delete_before(lake.servers, lake.dataset.topic.name, {0: before.next[0] + 30, 1: before.next[1] + 5})
    with pytest.raises(OffsetLossError, match="lakehouse loss accept orders"):
        lake.ingest()
    assert cursor(lake) == before
    assert places(lake.bronze()) == read
    found = lake.account()
    assert not found.accounted
    assert any("no longer has offsets that were never read: partition 0" in problem for problem in found.problems)

    assert accept(lake).by_partition() == {0: 30, 1: 5}
    assert not accept(lake)  # once is enough
    finish(lake)
    found = lake.account()
    assert found.problems == ()
    assert (found.accounted, found.lost, found.unproven_gaps) == (True, 35, 0)
    assert [tile.lost for tile in found.partitions if tile.lost] == [30, 5]
    after = cursor(lake)
    lost = {(p, offset) for p, count in ((0, 30), (1, 5)) for offset in range(before.next[p], before.next[p] + count)}
    assert not places(lake.bronze()) & lost
    ledger = lake.table(specs.ledger(lake.dataset)).rows().collect()
    rows = ledger.filter(kind="lost").sort("_kafka_partition")
    assert rows.select("_kafka_partition", "first_offset", "last_offset", "note", "declared_by").rows() == [
        (0, before.next[0], before.next[0] + 29, "disk full", "ann"),
        (1, before.next[1], before.next[1] + 4, "disk full", "ann"),
    ]

    # Retention that has gone on since is another loss.
    more = replace(source, seed=4, events=1000)
    lake.produce(more)
    delete_before(lake.servers, lake.dataset.topic.name, {0: after.next[0] + 7})
    with pytest.raises(OffsetLossError, match=f"partition 0: {after.next[0]} to {after.next[0] + 6}"):
        lake.ingest()
    assert cursor(lake) == after
    assert len(accept(lake)) == 7
    finish(lake)
    found = lake.account()
    assert (found.problems, found.lost) == ((), 42)


def test_the_command_refuses_asks_and_tells(make_lake: Callable[[str], Lake]) -> None:
    lake = make_lake("orders")
    project = lake.home / "project"
    contracts = project / "contracts"
    contracts.mkdir(parents=True)
    text = lake.dataset.source.read_text().replace("commerce.orders.v1", lake.dataset.topic.name)
    (contracts / "orders.odcs.yaml").write_text(text)
    variables = environment(
        home=lake.home, project=project, servers=lake.servers, more={"LAKEHOUSE_URI": lake.storage.uri}
    )
    source = Orders(dataset=lake.dataset, events=2000, seed=3)
    lake.produce(source, limit=1000)
    finish(lake)
    command = ["loss", "accept", "orders", "--reason", "disk full", "--by", "ann"]
    refused = lakehouse([*command, "--yes"], variables)
    assert refused.returncode == 1
    assert "nothing is lost" in refused.stderr
    lake.produce(source)
    at = cursor(lake)
    delete_before(lake.servers, lake.dataset.topic.name, {0: at.next[0] + 3})
    unanswered = lakehouse(command, variables)
    assert unanswered.returncode == 1
    listed = json.loads(lakehouse(["loss", "list", "orders", "--json"], variables).stdout)
    wanted = {"partition": 0, "first": at.next[0], "last": at.next[0] + 2, "offsets": 3}
    assert [{**row, **wanted, "state": "not declared"} == row for row in listed] == [True]
    accepted = lakehouse([*command, "--yes", "--json"], variables)
    assert accepted.returncode == 0, accepted.stderr
    (row,) = json.loads(accepted.stdout)
    assert {**row, **wanted, "state": "declared", "reason": "disk full", "by": "ann"} == row
    again = lakehouse([*command, "--yes", "--json"], variables)
    assert (again.returncode, json.loads(again.stdout)) == (0, [])
    listed = json.loads(lakehouse(["loss", "list", "--json"], variables).stdout)
    assert [row["state"] for row in listed] == ["declared"]
    finish(lake)
    verified = lakehouse(["verify", "--json"], variables)
    assert verified.returncode == 0, verified.stdout
    (found,) = json.loads(verified.stdout)
    assert found["lost"] == 3
