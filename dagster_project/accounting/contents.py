"""Whether contents are what was sent: Bronze against the broker, and all values against the payloads they came from."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote

import polars as pl

from dagster_project.accounting.broker_log import CONTENT, broker_log
from dagster_project.accounting.problems import damage
from dagster_project.accounting.snapshot import Snapshot
from dagster_project.accounting.soundness import Evidence
from dagster_project.contract.model import Dataset
from dagster_project.ingest.bronze import place as decode
from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.fetch import Fetched
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.protect import pseudonymised
from dagster_project.refine.recover import outdated, recover
from dagster_project.topics.offsets import Offsets, place

# Bronze rows that are decoded again at a time: bounds memory.
_ROWS = 200_000
_MESSAGE = ("_kafka_partition", "_kafka_offset", "_kafka_timestamp", "_correlation_id", *specs.MESSAGE)
BROKER = "in Bronze with another key or payload than on the broker"
BRONZE = "in Bronze with other values than their payloads have"
SILVER = "in silver with other values than their payloads have"
QUARANTINE = "in quarantine with another key or payload than in Bronze"


def check_contents(
    dataset: Dataset,
    tables: Snapshot,
    *,
    topic: str | None,
    storage: Storage,
    bootstrap_servers: str,
    registry: str = "",
) -> list[str]:
    """What is wrong with contents, and where.

    Args:
        topic: to compare with; `None` to compare the tables alone.
        registry: URL of the schema registry, where the contract's wire format needs one.

    Raises:
        KafkaError: the broker does not answer.
        RegistryError: nobody says what a schema is.
    """
    bronze, cursor = tables.bronze, tables.cursor
    if bronze.table is None or cursor is None:
        return []
    values = _value_differences(
        dataset, bronze=bronze, silver=tables.silver, quarantine=tables.quarantine, storage=storage, registry=registry
    )
    if topic is not None:
        different = _broker_differences(bronze, topic, cursor, bootstrap_servers=bootstrap_servers)
        values = {BROKER: different, **values}
    return [line for what, offsets in values.items() for line in damage(offsets, what)]


def _broker_differences(bronze: Evidence, topic: str, cursor: Cursor, *, bootstrap_servers: str) -> Offsets:
    """Offsets whose key or payload is another one on the broker."""
    assert bronze.table is not None
    log = broker_log(topic, cursor, bootstrap_servers=bootstrap_servers).lazy()
    different = [
        bronze.table.rows(part)
        .select(place(), CONTENT)
        .join(log, on="_place")
        .filter(pl.col("content") != pl.col("content_right"))
        .select("_place")
        .collect(engine="in-memory")
        for part in _portions(bronze.files)
    ]
    return _offsets(different)


def _value_differences(
    dataset: Dataset, *, bronze: Evidence, silver: Evidence, quarantine: Evidence, storage: Storage, registry: str
) -> dict[str, Offsets]:
    """Decode Bronze's payloads again, and compare all tables with what comes out: what is wrong, and where."""
    from dagster_project.ingest.wire import decoder_of

    assert bronze.table is not None
    decoder = decoder_of(dataset, registry=registry)
    wrong: dict[str, list[pl.DataFrame]] = {BRONZE: [], SILVER: [], QUARANTINE: []}
    for part, columns in _alike(bronze.table, bronze.files, storage):
        rows = bronze.table.rows(part).filter(pl.col("_kind") != specs.POISON).collect(engine="in-memory")
        if rows.is_empty():
            continue
        messages = Fetched(messages=rows.select(_MESSAGE), next={}, caught_up=True)
        decoded = decode(dataset, messages, decoder).with_columns(place())
        rows = rows.with_columns(place())
        if not dataset.reads_payloads:
            rows = recover(dataset, rows)
            # What was rescued from an event may not fit the column that a later contract has for it; the event stays one.
            unfit = rows.filter(pl.col(specs.RESCUED).is_not_null()).join(
                decoded.filter(pl.col("_kind") == specs.POISON), on="_place", how="semi"
            )
            decoded = decoded.join(unfit, on="_place", how="anti")
        all_known = specs.RESCUED in columns  # whatever the contract has gained since was rescued
        values, published = (
            [name for name in schema if _is_value(name) and (all_known or name in columns or name in specs.KEYS)]
            for schema in (specs.bronze(dataset).schema, specs.silver(dataset).schema)
        )
        sent = decoded.with_columns((pl.col("_kind") == specs.TOMBSTONE).alias("_deleted"))
        if not dataset.reads_payloads:  # else Bronze has what another major version has made of them
            wrong[BRONZE].append(_differences(rows, decoded, [*values, "_kind"]))
        # What is protected comes from Bronze anew, with the next run of Silver, where it is not as it is to be.
        if not (dataset.protected and outdated(dataset, silver.table)):
            refined = recover(dataset, _rows(silver, part, sent))
            wrong[SILVER].append(_differences(refined, pseudonymised(dataset, sent), [*published, "_deleted"]))
        wrong[QUARANTINE].append(_differences(_rows(quarantine, part, sent), sent, list(specs.MESSAGE)))
    return {what: _offsets(found) for what, found in wrong.items()}


def _is_value(name: str) -> bool:
    return not name.startswith("_") or (name in specs.COORDINATES and name in _MESSAGE)


def _rows(table: Evidence, part: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """What became of events: rows in the same table partitions as Bronze's, as where an event is depends only on itself."""
    if table.table is None:
        return sent.clear()
    files = table.files.join(part.select(specs.KEYS).unique(), on=specs.KEYS, how="semi", nulls_equal=True)
    rows = table.table.rows(files).with_columns(place())
    return rows.join(sent.lazy().select("_place"), on="_place", how="semi").collect()


def _differences(found: pl.DataFrame, sent: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    # Tables may hold fields of a newer contract, too.
    own = (pl.col(name).cast(sent.schema[name]) for name in columns)
    both = found.select("_place", *own).join(sent.select("_place", *columns), on="_place", suffix="_sent")
    unequal = [pl.col(name).ne_missing(pl.col(f"{name}_sent")) for name in columns]
    return both.filter(pl.any_horizontal(unequal)).select("_place")


def _alike(table: Table, files: pl.DataFrame, storage: Storage) -> Iterator[tuple[pl.DataFrame, frozenset[str]]]:
    """Files in portions that have the same columns: what a contract gained later is no difference."""
    options = dict(storage.options) or None
    schemas = [
        pl.scan_parquet(f"{table.uri}/{unquote(path)}", storage_options=options).collect_schema()
        for path in files["path"]
    ]
    groups = files.with_columns(pl.Series("_columns", [",".join(sorted(schema)) for schema in schemas], pl.String))
    for group in groups.partition_by("_columns", maintain_order=True):
        for part in _portions(group.drop("_columns")):
            yield part, frozenset(str(group["_columns"][0]).split(","))


def _portions(files: pl.DataFrame) -> Iterator[pl.DataFrame]:
    ordered = files.sort(specs.KEYS).with_columns((pl.col("num_records").cum_sum() // _ROWS).alias("_portion"))
    yield from ordered.partition_by("_portion", maintain_order=True, include_key=False)


def _offsets(rows: list[pl.DataFrame]) -> Offsets:
    return Offsets.union(*map(Offsets.of_rows, rows))
