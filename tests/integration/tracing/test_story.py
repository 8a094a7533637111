"""One order that was poison, replayed, late, quarantined, released, restated what was published, and then superseded.

The test knows what it did and when; each step of the journey is to say just that.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import polars as pl
import pytest

from dagster_project.lake import specs
from dagster_project.lake.table import TableSpec
from dagster_project.outbox.publish import publish
from dagster_project.outbox.replay import replay
from dagster_project.refine.release import release
from dagster_project.settings import REPOSITORY
from dagster_project.tracing.journey import trace
from dagster_project.tracing.story import Event
from tests.integration.lake import PATIENCE, Lake, environment, lakehouse

ORDER = "00000000-0000-0000-0000-000000000007"
PARTITION = 3
Spans = dict[str, tuple[dt.datetime, dt.datetime]]


def send(lake: Lake, number: int, *, at: str, headers: dict[str, bytes] | None = None, **values: Any) -> int:
    """Send one event of an order to a Kafka partition; returns its offset."""
    value = {
        "order_id": f"00000000-0000-0000-0000-{number:012d}",
        "ordered_at": "2026-01-05T09:00:00Z",
        "event_time": f"2026-01-05T{at}:00Z",
        "region": "eu",
        "status": "created",
        "customer_id": "c",
        "currency": "EUR",
        "amount": "1.00",
        "items": [{"sku": "SKU-1", "quantity": 1, "unit_price": "1.00"}],
        **values,
    }
    producer = ck.Producer({"bootstrap.servers": lake.servers})
    offsets: list[int | None] = []
    producer.produce(
        lake.dataset.topic.name,
        key=f"00000000-0000-0000-0000-{number:012d}",
        value=json.dumps(value),
        partition=PARTITION,
        headers=list((headers or {}).items()),
        on_delivery=lambda _, message: offsets.append(message.offset()),
    )
    assert producer.flush(PATIENCE) == 0
    (offset,) = offsets
    assert offset is not None
    return offset


def told(event: Event) -> dict[str, Any]:
    """Steps by stage, of marts the one over days."""
    steps = [step for step in event.steps if step.stage != "gold" or step.where == "gold/revenue_daily"]
    assert len({step.stage for step in steps}) == len(steps)
    return {step.stage: step for step in steps}


@dataclass(kw_only=True)
class Story:
    """What was done to one order.

    Attributes:
        lake: with the contract as it is in the end.
        poison, replayed, newest: offsets of its messages.
        spans: of each message, when each step was taken.
        versions: of each message, the version and the run of each commit.
    """

    lake: Lake
    poison: int = -1
    replayed: int = -1
    newest: int = -1
    spans: dict[int, Spans] = field(default_factory=lambda: {1: {}, 2: {}})
    versions: dict[int, dict[str, tuple[int, str]]] = field(default_factory=lambda: {1: {}, 2: {}})

    @contextmanager
    def during(self, message: int, *stages: str) -> Generator[None]:
        began = dt.datetime.now(dt.UTC).replace(microsecond=0)
        yield
        self.spans[message].update(dict.fromkeys(stages, (began, dt.datetime.now(dt.UTC))))

    def note(self, message: int, stage: str, spec: TableSpec, run: str) -> None:
        self.versions[message][stage] = (self.lake.table(spec).version, run)

    def run(self, name: str) -> Lake:
        return replace(self.lake, storage=replace(self.lake.storage, run_id=name))

    def change(self, **changes: Any) -> None:
        """The contract is another one from now on."""
        self.lake = replace(self.lake, dataset=replace(self.lake.dataset, **changes))


@pytest.fixture(scope="module")
def story(make_lake: Callable[[str], Lake]) -> Story:
    story = Story(lake=make_lake("orders"))
    dataset = story.lake.dataset
    # What is published before: another order, three hours and more newer than the one that this is about.
    send(story.lake, 1, at="12:30")
    first = story.run("run-1")
    first.ingest()
    first.refine()
    first.compute()
    # Of the contract's type it is not, so it is poison.
    with story.during(1, "produced"):
        story.poison = send(story.lake, 7, at="08:59", headers={"correlation_id": b"c-7"}, note=5)
    with story.during(1, "bronze"):
        story.run("run-2").ingest()
    story.note(1, "bronze", specs.bronze(dataset), "run-2")
    with story.during(1, "letter"):
        publish(dataset, storage=story.lake.storage, bootstrap_servers=story.lake.servers)
    # The contract learns, and the letter goes back; but an event before its order breaks a rule.
    story.change(columns=tuple(column for column in dataset.columns if column.name != "note"))
    with story.during(1, "replayed"), story.during(2, "produced"):
        replay(story.lake.dataset, bootstrap_servers=story.lake.servers)
    third = story.run("run-3")
    with story.during(2, "bronze"):
        third.ingest()
    with story.during(2, "quarantine"):
        third.refine()
    story.note(2, "bronze", specs.bronze(dataset), "run-3")
    story.note(2, "quarantine", specs.quarantine(dataset), "run-3")
    # Then that rule goes, too.
    story.change(rules=())
    with story.during(2, "released", "silver"):
        release(story.lake.dataset, storage=story.run("run-4").storage)
    story.note(2, "released", specs.quarantine(dataset), "run-4")
    story.note(2, "silver", specs.silver(dataset), "run-4")
    with story.during(2, "gold"):
        story.run("run-5").compute()
    story.note(2, "gold", specs.gold(story.lake.catalog.mart("revenue_daily")), "run-5")
    # At last the order goes on.
    story.newest = send(story.lake, 7, at="13:00", status="shipped")
    sixth = story.run("run-6")
    sixth.ingest()
    with story.during(2, "superseded"):
        sixth.refine()
    story.note(2, "superseded", specs.silver(dataset), "run-6")
    bronze = story.lake.bronze().filter(pl.col("_correlation_id") == "c-7", pl.col("_kind") == "event")
    story.replayed = bronze["_kafka_offset"].item()
    return story


def by_id(story: Story) -> tuple[Event, Event]:
    lake = story.lake
    journey = trace("c-7", catalog=lake.catalog, storage=lake.storage, kafka=lake.servers)
    assert (journey.notes, journey.more) == ((), 0)
    dead, order = journey.events
    return dead, order


def test_poison_tells_of_its_letter_and_of_what_it_was_sent_again_as(story: Story) -> None:
    dead, _ = by_id(story)
    assert (dead.partition, dead.offset, dead.kind, dead.place) == (PARTITION, story.poison, "poison", "quarantined")
    steps = told(dead)
    assert list(steps) == ["produced", "bronze", "letter", "replayed"]
    assert {stage: (step.version, step.run) for stage, step in steps.items() if step.version} == story.versions[1]
    assert steps["bronze"].facts["error"].startswith("note.type")
    assert steps["letter"].facts["partition"] == PARTITION
    assert steps["replayed"].facts == {"as": {"partition": PARTITION, "offset": story.replayed}, "attempt": 1}
    within(steps, story.spans[1])


def test_the_order_that_came_again_tells_each_step(story: Story) -> None:
    _, order = by_id(story)
    assert (order.partition, order.offset, order.kind) == (PARTITION, story.replayed, "event")
    assert (order.place, order.key, order.correlation_id) == ("superseded", {"order_id": ORDER}, "c-7")
    # Half past twelve was the newest event before it.
    assert order.late_s == (3 * 60 + 31) * 60
    steps = told(order)
    assert list(steps) == ["produced", "bronze", "quarantine", "released", "silver", "gold", "superseded"]
    assert {stage: (step.version, step.run) for stage, step in steps.items() if step.version} == story.versions[2]
    assert steps["produced"].facts["replay_of"] == f"{order.topic}/{PARTITION}/{story.poison}"
    assert steps["quarantine"].facts["reasons"] == ["event_not_before_order"]
    assert (steps["gold"].facts["restated"], steps["gold"].facts["table_partition"]) == (True, "2026-01-05/eu")
    assert steps["superseded"].facts == {"by": {"partition": PARTITION, "offset": story.newest}}
    within(steps, story.spans[2])
    times = [step.at for step in order.steps[1:] if step.at is not None]
    assert times == sorted(times)


def test_a_key_and_a_place_lead_to_the_same_story(story: Story) -> None:
    both = [story.poison, story.replayed]
    assert [event.offset for event in of(story.lake, f"order_id={ORDER}")] == [*both, story.newest]
    for offset in both:
        assert [event.offset for event in of(story.lake, f"orders/{PARTITION}/{offset}")] == both
    assert [event.offset for event in of(story.lake, f"orders/{PARTITION}/{story.newest}")] == [story.newest]


def test_people_and_programs_read_it(story: Story, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(REPOSITORY / "contracts", project / "contracts")
    contract = project / "contracts" / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("commerce.orders.v1", story.lake.dataset.topic.name))
    variables = environment(home=story.lake.home, project=project, servers=story.lake.servers)
    done = lakehouse(["trace", "c-7", "--json"], variables)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    shown = [
        {step["stage"]: (step["version"], step["run"]) for step in event["steps"] if step["version"]}
        for event in document["events"]
    ]
    ours = [{name: value for name, value in own.items() if name != "gold"} for own in story.versions.values()]
    assert [{name: value for name, value in own.items() if name != "gold"} for own in shown] == ours
    done = lakehouse(["trace", f"orders/{PARTITION}/{story.replayed}"], variables)
    assert done.returncode == 0, done.stderr
    for text in (
        "correlation id c-7",
        f"now not in silver/orders: superseded by {PARTITION}/{story.newest}",
        "poison: note.type",
        "late by 3:31:00",
        "quarantined: event_not_before_order",
        "quarantine: quarantine/orders, version 1, run run-3",
        "gold: gold/revenue_daily, version 2, run run-5",
        "restated, table partition 2026-01-05/eu",
    ):
        assert text in done.stdout, done.stdout
    done = lakehouse(["trace", "order_id=nobody"], variables)
    assert (done.returncode, "no event 'order_id=nobody'" in done.stderr) == (1, True)


def of(lake: Lake, what: str) -> list[Event]:
    return list(trace(what, catalog=lake.catalog, storage=lake.storage, kafka=lake.servers).events)


def within(steps: dict[str, Any], spans: Spans) -> None:
    """Each step says when it was, by the clock of who did it."""
    for stage, step in steps.items():
        began, ended = spans[stage]
        assert step.at is not None
        assert began <= step.at <= ended, stage


@pytest.mark.parametrize("kind", ["aborted", "unread", "beyond"])
def test_what_is_no_message_or_not_read_yet_is_told_by_the_broker(make_lake: Callable[[str], Lake], kind: str) -> None:
    lake = make_lake("orders")
    producer = ck.Producer({"bootstrap.servers": lake.servers, "transactional.id": lake.dataset.topic.name})
    producer.init_transactions(PATIENCE)
    producer.begin_transaction()
    producer.produce(lake.dataset.topic.name, value=b"{", partition=PARTITION)
    producer.flush(PATIENCE)
    producer.abort_transaction(PATIENCE)
    lake.ingest()
    last = send(lake, 1, at="12:30")
    place = f"orders/{PARTITION}/"
    if kind == "aborted":
        (event,) = of(lake, f"{place}0")
        assert (event.place, event.kind) == ("aborted", None)
        assert "its transaction was aborted" in event.now
    elif kind == "unread":
        (event,) = of(lake, f"{place}{last}")
        assert event.place == "unread"
    else:
        with pytest.raises(Exception, match="has no message at Kafka partition 3"):
            of(lake, f"{place}{last + 1}")
