"""How late rows are, where runs end, are killed before or after a commit, and read batches of any size."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.contract.model import Catalog
from dagster_project.ingest import bronze as ingesting
from dagster_project.ingest.fetch import Limits
from dagster_project.ingest.lateness import newest_events
from dagster_project.lake import specs
from dagster_project.lake import table as tables
from dagster_project.lake.table import Table
from tests.unit.lakes import Lake, Message
from tests.unit.lateness import late, newest_us, topics
from tests.unit.protocol.topic import AtOnce, ModelTopic


class Crash(BaseException):
    """The process is gone; no handler may see it."""


def crash(*_: object, **__: object) -> Any:
    raise Crash


def model(name: str, messages: list[Message]) -> ModelTopic:
    logs: list[list[Message | None]] = [[], [], []]
    for message in messages:
        logs[message.partition].append(message)
    return ModelTopic(name=name, logs=logs, first=dict.fromkeys(range(3), 0))


@contextmanager
def broker(topic: ModelTopic) -> Generator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingesting, "Broker", topic.as_broker())
        patch.setattr(ingesting, "reading", topic.reading)
        patch.setattr(ingesting, "ThreadPoolExecutor", AtOnce)
        for name in ("publish_offsets", "record_gaps"):  # about the broker alone
            patch.setattr(ingesting, name, lambda *_, **__: None)
        yield


def read_on(lake: Lake, *, rows: int, batches: int | None = None) -> None:
    run = ingesting.ingest(
        lake.dataset,
        bootstrap_servers="",
        storage=lake.storage,
        limits=Limits(rows=rows),
        seconds=3600,
        warn=lambda _: None,
    )
    for number, _ in enumerate(run, 1):
        if number == batches:
            break


@settings(max_examples=12)
@given(
    messages=topics(),
    runs=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.sampled_from([None, "spelled", "refresh"])), max_size=3
    ),
    rest=st.integers(1, 8),
)
def test_lateness_is_a_function_of_the_topic_whatever_the_batches_and_wherever_a_run_is_killed(
    catalog: Catalog, messages: list[Message], runs: list[tuple[int, int, str | None]], rest: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake.at(Path(folder), catalog=catalog)
        with broker(model(lake.dataset.topic.name, messages)):
            for rows, batches, step in runs:
                read_on(lake, rows=rows, batches=batches)
                if step is not None:  # before the commit is written, or once it is
                    with pytest.MonkeyPatch.context() as patch, suppress(Crash):
                        patch.setattr(*((tables, step) if step == "spelled" else (Table, step)), crash)
                        read_on(lake, rows=rows)
            read_on(lake, rows=rest)
        bronze = lake.bronze
        found = bronze.rows().select("_kafka_partition", "_kafka_offset", specs.LATE).collect()
        assert {(partition, offset): value for partition, offset, value in found.iter_rows()} == late(messages)
        assert newest_events(bronze.cursors()) == newest_us(messages)
