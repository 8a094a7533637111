"""Hand-written events: keyed where that is possible, sent as they are where it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.contract.model import Dataset
from dagster_project.errors import ConfigurationError
from dagster_project.sources.ndjson import Sample

FLIGHT = b'{"carrier": "UA", "flight": 1, "origin": "EWR", "scheduled_departure": "2013-01-01T10:15:00Z"}'


def sample(dataset: Dataset, tmp_path: Path, text: bytes) -> Sample:
    path = tmp_path / "sample.ndjson"
    path.write_bytes(text)
    return Sample.read(dataset, path)


def test_the_key_is_the_merge_key(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    (event,) = sample(datasets["flights"], tmp_path, FLIGHT + b"\r\n\n")
    assert event.key == b"UA|1|EWR|2013-01-01T10:15:00Z"
    assert event.value.strip() == FLIGHT
    assert event.kind == "sample"
    assert event.event_time == "2013-01-01T10:15:00Z"


@pytest.mark.parametrize("line", [b"no json", b"[1, 2]", b'{"order_id": "a"', b'{"note": "\xff"}', b"[" * 200_000])
def test_what_is_no_object_is_sent_as_it_is(datasets: dict[str, Dataset], tmp_path: Path, line: bytes) -> None:
    (event,) = sample(datasets["orders"], tmp_path, line)
    assert (event.key, event.value, event.kind) == (None, line, "decode")


@pytest.mark.parametrize("line", [b'{"flight": 1}', FLIGHT.replace(b"1,", b"null,")])
def test_an_object_without_its_key_has_none(datasets: dict[str, Dataset], tmp_path: Path, line: bytes) -> None:
    (event,) = sample(datasets["flights"], tmp_path, line)
    assert (event.key, event.kind) == (None, "sample")


def test_an_edited_file_is_another_stream(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    first = sample(datasets["flights"], tmp_path, FLIGHT)
    same = sample(datasets["flights"], tmp_path, FLIGHT + b"\n")
    edited = sample(datasets["flights"], tmp_path, FLIGHT + b"\n" + FLIGHT)
    assert first.progress_group == same.progress_group != edited.progress_group
    assert len(edited) == len(list(edited)) == 2


def test_a_missing_file_is_named(datasets: dict[str, Dataset], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*none\.ndjson: No such file"):
        Sample.read(datasets["orders"], tmp_path / "none.ndjson")
