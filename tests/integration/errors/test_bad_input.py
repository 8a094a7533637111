"""What a person is told when something is not as it should be: what was found, what was expected, what to do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from dagster_project.contract.loader import load_catalog
from dagster_project.definitions import build
from dagster_project.errors import KafkaError, LakeError, OffsetLossError, TopicIdentityError
from dagster_project.lake.specs import POISON
from dagster_project.lake.storage import Storage
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.sources.orders import Orders
from tests.integration.lake import PATIENCE, Lake, environment, free_port, lakehouse, places, unique

EVENTS = 300
# A request's time-out of 10 s, and what it takes to notice and to tell.
NOTICE_SECONDS = 15.0
# The message of every refusal ends with a line that says what to do.
TO_DO = re.compile(r"^  to do: {4}\S", re.MULTILINE)


@pytest.fixture
def orders(make_lake: Callable[[str], Lake]) -> Lake:
    """Orders in a topic, ingested."""
    lake = make_lake("orders")
    lake.produce(Orders(dataset=lake.dataset, events=EVENTS, seed=1))
    lake.ingest()
    return lake


def admin(lake: Lake) -> AdminClient:
    return AdminClient({"bootstrap.servers": lake.servers, "log_level": 0})


def project_of(lake: Lake, folder: Path) -> Path:
    """A project folder with the contract of the lake's dataset and topic."""
    contract = (REPOSITORY / "contracts" / f"{lake.dataset.name}.odcs.yaml").read_text()
    original = load_catalog(REPOSITORY / "contracts").dataset(lake.dataset.name).topic.name
    (folder / "contracts").mkdir(parents=True)
    (folder / "contracts" / "only.odcs.yaml").write_text(
        contract.replace(f"physicalName: {original}", f"physicalName: {lake.dataset.topic.name}")
    )
    return folder


def send(lake: Lake, value: bytes, *, partition: int = -1) -> None:
    producer = Producer({"bootstrap.servers": lake.servers, "log_level": 0})
    failures: list[object] = []
    producer.produce(
        lake.dataset.topic.name, value, partition=partition, on_delivery=lambda error, _: failures.append(error)
    )
    assert producer.flush(PATIENCE) == 0
    assert failures == [None]


def order(region: str) -> bytes:
    """A good order but for its region."""
    return json.dumps(
        {
            "order_id": "00000000-0000-4000-8000-000000000000",
            "ordered_at": "2026-06-01T00:00:00Z",
            "event_time": "2026-06-01T00:00:00Z",
            "region": region,
            "status": "created",
            "customer_id": "c-1",
            "currency": "EUR",
            "amount": 1,
            "items": [{"sku": "SKU-1", "quantity": 1, "unit_price": 1}],
        }
    ).encode()


def test_a_malformed_contract_is_named_by_file_line_and_path(tmp_path: Path) -> None:
    contract = tmp_path / "contracts" / "broken.odcs.yaml"
    contract.parent.mkdir()
    text = (REPOSITORY / "contracts" / "orders.odcs.yaml").read_text()
    contract.write_text(text.replace("logicalType: string", "logicalType: text", 1))
    line = contract.read_text()[: contract.read_text().index("logicalType: text")].count("\n") + 1

    done = lakehouse(["query", "SELECT 1"], environment(home=tmp_path / "home", project=tmp_path))

    assert done.returncode == 1
    assert f"{contract}:{line}" in done.stderr
    assert "logicalType" in done.stderr
    assert "text" in done.stderr
    assert TO_DO.search(done.stderr)
    assert "Traceback" not in done.stderr


def test_an_unknown_region_is_quarantined_and_breaks_nothing(orders: Lake) -> None:
    before = orders.account()
    send(orders, order("atlantis"))
    send(orders, order("eu"))

    (batch,) = orders.ingest()
    orders.refine()

    assert (batch.events, batch.poison) == (1, 1)
    newest = orders.bronze().filter((pl.col("_batch_id") == batch.batch_id) & (pl.col("_kind") == POISON))
    assert newest["_error"].to_list() == ["region.enum: not one of eu, us, apac"]
    assert newest["_payload"].to_list() == [order("atlantis")]
    found = orders.account()
    assert found.accounted, found.problems
    assert found.offsets == before.offsets + 2


@pytest.mark.parametrize("arguments", [["verify"], ["topics", "check"], ["topics", "apply"]])
def test_a_broker_that_is_down_is_told_by_commands(tmp_path: Path, arguments: list[str]) -> None:
    servers = f"{LOOPBACK}:{free_port()}"
    began = time.monotonic()

    done = lakehouse(arguments, environment(home=tmp_path, servers=servers))

    assert done.returncode == 1
    assert f"Kafka at {servers} does not answer" in done.stderr
    assert "expected: " in done.stderr
    assert TO_DO.search(done.stderr)
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < PATIENCE


def test_a_broker_that_was_never_started_is_told_by_commands(tmp_path: Path) -> None:
    done = lakehouse(["verify"], environment(home=tmp_path))

    assert done.returncode == 1
    assert "no Kafka broker" in done.stderr
    assert "lakehouse up" in done.stderr


def test_a_broker_that_is_down_makes_the_sensor_skip(tmp_path: Path) -> None:
    servers = f"{LOOPBACK}:{free_port()}"
    settings = Settings(home=tmp_path, project=REPOSITORY, lake_uri=str(tmp_path / "lake"), bootstrap_servers=servers)
    definitions = build(load_catalog(settings.contracts), settings)
    began = time.monotonic()

    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(
            instance=instance, repository_def=definitions.get_repository_def(), resources=definitions.resources
        ) as context,
    ):
        tick = definitions.resolve_sensor_def("kafka_lag").evaluate_tick(context)

    assert not tick.run_requests
    assert f"Kafka at {servers} does not answer" in (tick.skip_message or "")
    assert time.monotonic() - began < NOTICE_SECONDS


def test_a_broker_that_is_down_ends_an_ingest(orders: Lake) -> None:
    down = replace(orders, servers=f"{LOOPBACK}:{free_port()}")
    before, began = orders.bronze(), time.monotonic()

    with pytest.raises(KafkaError, match=f"Kafka at {down.servers} does not answer"):
        down.ingest()

    assert time.monotonic() - began < NOTICE_SECONDS
    assert orders.bronze().equals(before)


def test_a_missing_topic_is_told_with_the_command_that_makes_it(make_lake: Callable[[str], Lake]) -> None:
    lake = make_lake("orders")
    dataset = replace(lake.dataset, topic=replace(lake.dataset.topic, name=unique("nowhere")))

    with pytest.raises(KafkaError, match=r"no topic 'nowhere\.\w+'(.|\n)*expected: (.|\n)*lakehouse topics apply"):
        replace(lake, dataset=dataset).ingest()


def test_new_kafka_partitions_are_read_from_their_beginning(orders: Lake, tmp_path: Path) -> None:
    before = orders.account()
    project = project_of(orders, tmp_path / "project")
    variables = environment(home=tmp_path / "home", project=project, servers=orders.servers)
    assert lakehouse(["topics", "check"], variables).stdout.startswith("keep")
    name, partitions = orders.dataset.topic.name, orders.dataset.topic.partitions
    client = admin(orders)  # must outlive the answer
    client.create_partitions([NewPartitions(name, partitions + 2)])[name].result(PATIENCE)
    for number in range(3):
        send(orders, order("eu"), partition=partitions + number % 2)

    checked = lakehouse(["topics", "check"], variables)
    assert checked.returncode == 1
    assert f"{partitions + 2} partitions, the contract says {partitions}" in checked.stdout
    assert f"write partitions: {partitions + 2} into the contract" in checked.stdout

    (batch,) = orders.ingest()
    assert {place: batch.offsets[place] for place in (partitions, partitions + 1)} == {
        partitions: (0, 2),
        partitions + 1: (0, 1),
    }
    assert (batch.events, batch.poison) == (3, 0)
    orders.refine()
    found = orders.account()
    assert found.accounted, found.problems
    assert found.offsets == before.offsets + 3


def test_refused_credentials_are_told_with_the_variables_to_check(refusing_s3: str, tmp_path: Path) -> None:
    credentials = {
        "LAKEHOUSE_URI": "s3://somebodys-bucket/lake",
        "AWS_ENDPOINT_URL": refusing_s3,
        "AWS_ACCESS_KEY_ID": "not-a-key",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    done = lakehouse(["query", "FROM silver.orders"], environment(home=tmp_path, more=credentials))

    assert done.returncode == 1
    assert "s3://somebodys-bucket/lake" in done.stderr
    assert refusing_s3 in done.stderr
    assert "AWS_ACCESS_KEY_ID" in done.stderr
    assert "not-a-secret" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_told_with_the_command_that_makes_it(orders: Lake) -> None:
    elsewhere = replace(orders, storage=Storage.at("s3://there-is-no-such-bucket/lake"))

    with pytest.raises(
        LakeError, match=r"no bucket 'there-is-no-such-bucket'(.|\n)*aws s3 mb s3://there-is-no-such-bucket"
    ):
        elsewhere.ingest()


def test_sql_that_does_not_run_is_told_with_the_tables_there_are(tmp_path: Path) -> None:
    done = lakehouse(["query", "SELECT * FROM gold.no_such_mart"], environment(home=tmp_path))

    assert done.returncode == 1
    assert "no_such_mart" in done.stderr
    assert "gold.revenue_daily" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_state_folder_is_told_with_the_file(tmp_path: Path) -> None:
    state = tmp_path / "services" / "kafka.json"
    state.parent.mkdir()
    state.write_bytes(b"\x00\xff{")

    done = lakehouse(["verify"], environment(home=tmp_path))

    assert done.returncode == 1
    assert f"{state} is damaged" in done.stderr
    assert TO_DO.search(done.stderr)
    assert "Traceback" not in done.stderr


def test_a_damaged_table_is_told_with_its_name(orders: Lake, tmp_path: Path) -> None:
    log = orders.home / "lake" / "bronze" / "orders" / "_delta_log"
    for commit in log.glob("*.json"):
        commit.write_text("{ this is no commit\n")
    project = project_of(orders, tmp_path / "project")

    done = lakehouse(["verify"], environment(home=orders.home, project=project, servers=orders.servers))

    assert done.returncode == 1
    assert "bronze/orders" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_topic_that_was_made_anew_is_not_read(orders: Lake) -> None:
    name, before = orders.dataset.topic.name, orders.bronze()
    client = admin(orders)  # must outlive the answer
    client.delete_topics([name])[name].result(PATIENCE)
    _until_gone(orders)
    orders.create_topic()
    send(orders, order("eu"))

    with pytest.raises(TopicIdentityError, match=rf"'{re.escape(name)}' has id(.|\n)*expected: (.|\n)*to do: "):
        orders.ingest()

    assert orders.bronze().equals(before)


def test_events_that_were_deleted_unread_are_an_error_and_never_skipped(orders: Lake) -> None:
    before = orders.bronze()
    cursor = 1 + max(offset for partition, offset in places(before) if partition == 0)
    for _ in range(5):
        send(orders, order("eu"), partition=0)
    # Past control records, which hold offsets too, and past events that nobody has read.
    client = admin(orders)  # must outlive the answer
    end = client.delete_records([TopicPartition(orders.dataset.topic.name, 0, cursor + 4)])
    for deleted in end.values():
        deleted.result(PATIENCE)

    with pytest.raises(
        OffsetLossError, match=r"no longer has offsets that were never read: partition 0: (.|\n)*nothing was skipped"
    ):
        orders.ingest()

    assert orders.bronze().equals(before)


def _until_gone(lake: Lake) -> None:
    """The broker deletes a topic in the background."""
    deadline = time.monotonic() + PATIENCE
    while lake.dataset.topic.name in admin(lake).list_topics(timeout=PATIENCE).topics:
        assert time.monotonic() < deadline
        time.sleep(0.1)
