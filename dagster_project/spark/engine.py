"""A mart's rows by a Spark job: ordered here, carried out on a cluster, and held to the contract here again."""

from __future__ import annotations

import datetime as dt
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import polars as pl
from deltalake.transaction import AddAction

from dagster_project.contract.dtypes import polars_schema
from dagster_project.errors import EngineError
from dagster_project.lake import specs
from dagster_project.lake.actions import PLAIN
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine.engine import Rows, Work
from dagster_project.refine.gold import alone, refuse_strays
from dagster_project.refine.inputs import Inputs
from dagster_project.refine.sql import held_to_contract, refuse
from dagster_project.spark.order import Order, Schemes, order_mart

# Rows that are looked at here at a time, as of the local engine; the job itself has no such bound.
_ROWS = 1_000_000
# Starts a job with the URI of an order, and comes back with what is told of it when it has ended; raises if it has failed.
Launch = Callable[[str, Order], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class SparkEngine:
    """Computes a mart by one job, however much that is.

    Attributes:
        name: `spark` of one's own, `glue` or `emr`.
        schemes: how the cluster names file systems, where that is not as the lake does.
    """

    launch: Launch
    name: str = "spark"
    schemes: Schemes = field(default_factory=dict)

    def compute(self, inputs: Inputs, gold: Table, keys: Sequence[Key]) -> Work:
        if not keys:
            return Work(portions=[], rows=_nothing)
        files, told = self._made(inputs, gold, keys)
        refuse_strays(inputs.mart, files, keys)

        def rows(portion: Sequence[Key]) -> Rows:
            own = {key: [action for action, _ in files.get(key, [])] for key in portion}
            frame = gold.rows(_listed([action for actions in own.values() for action in actions]))
            frame = frame.select(polars_schema(inputs.mart.columns).keys()).collect(engine="in-memory")
            read = sum(inputs.read(group)[1] for group in alone(inputs.mart, portion))
            return Rows(frame=held_to_contract(inputs.mart, frame), read=read, files=own)

        return Work(
            portions=_portions(keys, {key: sum(n for _, n in own) for key, own in files.items()}), rows=rows, told=told
        )

    def _made(
        self, inputs: Inputs, gold: Table, keys: Sequence[Key]
    ) -> tuple[dict[Key, list[tuple[AddAction, int]]], Mapping[str, Any]]:
        """By table partition, the files that a job has written, and how many rows they have; and what is told of the job."""
        staged = f"spark-{uuid.uuid4().hex}"
        order = order_mart(inputs, gold, keys, staged=staged, schemes=self.schemes)
        folder = f"{gold.uri}/{staged}"
        gold.filesystem.pipe_file(f"{folder}/order.json", json.dumps(order.to_json()).encode())
        told = self.launch(f"{order.output}/order.json", order)
        manifest = _manifest(gold, folder)
        if manifest["refused"] is not None:
            raise refuse(inputs.mart, manifest["refused"], "SQL that runs in Spark as it does in DuckDB")
        found: dict[Key, list[tuple[AddAction, int]]] = {}
        for file in sorted(manifest["files"], key=lambda file: file["path"]):
            date, region = (file["values"].get(name) for name in specs.KEYS)
            key = Key(None if date is None else dt.date.fromisoformat(date), region)
            found.setdefault(key, []).append((_action(f"{staged}/{file['path']}", file), file["rows"]))
        return found, told


def _nothing(_: Sequence[Key]) -> Rows:
    raise AssertionError("no portion, no rows")


def _manifest(table: Table, folder: str) -> dict[str, Any]:
    names = sorted(map(str, table.filesystem.glob(f"{folder}/manifest/part-*")))
    if len(names) != 1:
        raise EngineError(
            f"the Spark job that was to write to {folder} has left {len(names)} manifests",
            expected="exactly one, which is the last thing that a job writes; nothing was committed",
            remedy="look at the job's own log; the next run starts from the committed state",
        )
    content = table.filesystem.cat_file(names[0])
    assert isinstance(content, bytes)
    return json.loads(content)


def _action(path: str, file: dict[str, Any]) -> AddAction:
    return AddAction(
        path=path,
        size=file["size"],
        partition_values=file["values"],
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": file["rows"]}),
    )


def _listed(actions: Sequence[AddAction]) -> pl.DataFrame:
    """Files as `Table.rows` asks for them."""
    paths = [quote(action.path, safe=PLAIN) for action in actions]
    return pl.DataFrame(
        {"path": paths, "size_bytes": [action.size for action in actions]},
        schema={"path": pl.String(), "size_bytes": pl.Int64()},
    )


def _portions(keys: Sequence[Key], sizes: dict[Key, int]) -> list[list[Key]]:
    found: list[list[Key]] = [[]]
    rows = 0
    for key in keys:
        if found[-1] and rows + sizes.get(key, 0) > _ROWS:
            found.append([])
            rows = 0
        found[-1].append(key)
        rows += sizes.get(key, 0)
    return found
