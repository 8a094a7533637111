"""What is counted of the store's requests, beside what an S3 server was asked."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from dagster_project.lake import meter
from dagster_project.lake.storage import Storage
from tests.integration.lake import PATIENCE
from tests.unit.lakes import Lake, reading, small_catalog

# Answers other than 200 are in colour.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_REQUEST = re.compile(r'"([A-Z]+) (/[^ "]*) HTTP')


@pytest.fixture
def asked(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Counter[str]]:
    """Counts the server's requests by their class since it was last called."""
    (log,) = tmp_path_factory.getbasetemp().glob("s3[0-9]*/server.log")
    read = log.stat().st_size

    def since() -> Counter[str]:
        nonlocal read
        with log.open(encoding="utf-8") as lines:
            lines.seek(read)
            found = _REQUEST.findall(_COLOUR.sub("", lines.read()))
            read = lines.tell()
        return Counter("put" if method in {"PUT", "POST"} or "list-type" in path else "get" for method, path in found)

    return since


def test_requests_are_those_that_a_store_is_asked(s3: str, asked: Callable[[], Counter[str]], tmp_path: Path) -> None:
    catalog = small_catalog(tmp_path / "contracts")
    lake = Lake(catalog=catalog, storage=Storage.at(f"{s3}/counted"), dataset=catalog.datasets[0])

    def work(number: int) -> None:
        lake.arrive(*(reading(10 * number + row, f"k{row}", day=1 + row) for row in range(4)))
        lake.refine()
        lake.compute()

    work(0)
    asked()
    before = meter.taken()
    for number in range(1, 4):
        work(number)
    used = meter.taken() - before
    found, deadline = asked(), time.monotonic() + PATIENCE
    while found["put"] < used.requests_put and time.monotonic() < deadline:  # the server writes its log in its own time
        time.sleep(0.1)
        found += asked()
    # What costs twelve times as much is counted to the last one.
    assert found["put"] == used.requests_put
    assert used.requests_get == pytest.approx(found["get"], rel=0.25)
    assert used.objects_out < used.requests_put
