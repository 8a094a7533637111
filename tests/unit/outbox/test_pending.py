"""What is still to be published, from Bronze's file statistics alone."""

from __future__ import annotations

import pytest

from dagster_project.errors import KafkaError
from dagster_project.outbox.publish import pending
from tests.unit.lakes import Lake, Message, reading, tombstone

POISON = b"no JSON"


def test_only_files_with_poison_after_the_cursor(lake: Lake) -> None:
    assert pending(lake.dataset, None, -1).is_empty()
    lake.arrive(reading(0))  # batch 0
    lake.arrive(tombstone(1))  # batch 1
    assert pending(lake.dataset, lake.bronze, -1).is_empty()
    lake.arrive(reading(2), Message(offset=3, payload=POISON), tombstone(4))  # batch 2
    lake.arrive(Message(offset=5, payload=POISON))  # batch 3
    lake.arrive(reading(6))  # batch 4
    for cursor, batches in ((-1, [2, 3]), (1, [2, 3]), (2, [3]), (3, []), (4, [])):
        assert sorted(pending(lake.dataset, lake.bronze, cursor)["max._batch_id"]) == batches


def test_a_cursor_ahead_of_bronze_is_of_another_table(lake: Lake) -> None:
    lake.arrive(Message(offset=0, payload=POISON))
    with pytest.raises(KafkaError, match="is at batch 0; its poison was published up to batch 1"):
        pending(lake.dataset, lake.bronze, 1)
