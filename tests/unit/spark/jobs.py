"""A job that is none: it writes what a job would, by the order alone, in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from dagster_project.spark.order import Order


@dataclass(kw_only=True)
class Job:
    """Attributes:
    rows: by date and region, what the SQL yields.
    refused: what is wrong with the SQL.
    ends: before its manifest.
    """

    rows: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    refused: str | None = None
    ends: bool = False
    orders: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, uri: str, order: Order) -> Mapping[str, object]:
        self.orders.append(json.loads(Path(uri.removeprefix("file://")).read_text(encoding="utf-8")))
        output = Path(order.output.removeprefix("file://"))
        files: list[dict[str, Any]] = []
        for (date, region), rows in self.rows.items():
            path = f"0/event_date={date}/region={region}/part-0.parquet"
            (output / path).parent.mkdir(parents=True)
            schema = {"readings": pl.Int64(), "total": pl.Int64()}
            pl.DataFrame(list(rows), schema=schema).write_parquet(output / path)
            files.append(
                {
                    "path": path,
                    "size": (output / path).stat().st_size,
                    "rows": len(rows),
                    "values": {"event_date": date, "region": region},
                }
            )
        if not self.ends:
            (output / "manifest").mkdir()
            told = {"refused": self.refused, "files": files, "rows": 0, "seconds": 0.0}
            (output / "manifest" / "part-00000.txt").write_text(json.dumps(told) + "\n", encoding="utf-8")
        return {"application": "none"}
