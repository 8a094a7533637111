"""The kernel tells which files are read."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from benchmarks.scenarios.opened import watching


def test_reads_are_counted_whoever_makes_them_and_writes_and_listings_are_not(tmp_path: Path) -> None:
    with watching(tmp_path) as reads:
        (tmp_path / "text").write_text("a")
        (tmp_path / "other").write_text("b")
        pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "table")
        list(tmp_path.iterdir())
        assert reads.count() == 0
        (tmp_path / "text").read_text()
        (tmp_path / "other").read_text()
        assert reads.count() == 2
        assert reads.count() == 0
        pl.read_parquet(tmp_path / "table")  # through no Python of ours
        assert reads.count() >= 1
