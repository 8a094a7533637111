"""Where one offset is: the account of a topic, as `lakehouse verify` makes it, drawn up for this offset alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import polars as pl

from dagster_project.accounting.fates import fates
from dagster_project.accounting.gaps import gaps
from dagster_project.accounting.soundness import Evidence
from dagster_project.accounting.tiles import tiles
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of
from dagster_project.ledger.ledger import Ledger
from dagster_project.topics.batches import Kind
from dagster_project.topics.offsets import Offsets
from dagster_project.tracing.messages import of_key, published_key
from dagster_project.tracing.story import BEFORE, UNREAD
from dagster_project.tracing.tables import PLACE, Layer, Row, Tables, at, key_of

# The broker's word on one offset, given its Kafka partition.
AskLog = Callable[[int, int], Mapping[Kind, Offsets]]


@dataclass(frozen=True, kw_only=True)
class Whereabouts:
    """What the tables have of one offset.

    Attributes:
        place: a word of the account, or `unread`, `before_start`.
        winner: the row of Silver that has the same identity, with `_deleted`; `None` if there is none.
        quarantined: the row of quarantine at the offset, also if it was released since.
        ledger: its entries about the offset.
    """

    place: str
    winner: Row | None
    quarantined: Row | None
    ledger: tuple[Row, ...]


def whereabouts(tables: Tables, partition: int, offset: int, row: Row | None, *, ask_log: AskLog) -> Whereabouts:
    """Account for one offset.

    Args:
        row: what there is of its message.
        ask_log: called where neither a table nor the ledger tells.

    Raises:
        KafkaError: the broker does not answer.
    """
    cursor = tables.cursor
    ledger = _ledger(tables, partition, offset)
    told = tuple(ledger.rows.iter_rows(named=True))
    if cursor is None or offset >= cursor.next.get(partition, 0):
        return Whereabouts(place=UNREAD, winner=None, quarantined=None, ledger=told)
    if offset < cursor.start[partition]:
        return Whereabouts(place=BEFORE, winner=None, quarantined=None, ledger=told)
    own = Offsets.of_bounds({partition: offset}, {partition: offset + 1})
    here = at(partition, offset)
    winner, in_silver = _winner(tables, here, row)
    in_quarantine = tables.quarantine.find(here, tables.quarantine.near(offset))
    lost, forgotten = ledger.offsets("lost") & own, ledger.offsets("forgotten") & own
    expired = {place: offsets & own for place, offsets in ledger.expired().items()}
    found = fates(
        tables.dataset,
        bronze=_evidence(tables.bronze, tables.bronze.find(here, tables.bronze.near(offset))),
        silver=_evidence(tables.silver, in_silver),
        quarantine=_evidence(tables.quarantine, in_quarantine),
        expired=expired,
        lost=lost,
        forgotten=forgotten,
    )
    known = Offsets.union(found.bronze, found.expired - lost, forgotten)
    covered = Offsets.of_bounds(cursor.start, {p: max(ledger.covered.get(p, 0), cursor.start[p]) for p in cursor.start})
    holes = gaps(known, window=own, log={}, ledger=ledger, covered=covered & own)
    if holes.unproven or holes.unexplained:
        holes = gaps(known, window=own, log=ask_log(partition, offset), ledger=ledger, covered=covered & own)
    places = tiles(found, holes, window=own, forgotten=forgotten)
    quarantined = None
    if not in_quarantine.is_empty():
        columns = [*PLACE, "_reasons", "_quarantined_at", specs.RELEASE, *specs.KEYS]
        (quarantined,) = tables.quarantine.fetch(in_quarantine, columns).to_dicts()
    # Of what is in more than one place, the account says the worst, which comes last.
    place = [name for name, offsets in places.items() if offsets & own][-1]
    return Whereabouts(place=place, winner=winner, quarantined=quarantined, ledger=told)


def _winner(tables: Tables, here: pl.Expr, row: Row | None) -> tuple[Row | None, pl.DataFrame]:
    """The row of Silver with the identity of a message; and where Silver has this one, and the message itself."""
    silver, dataset = tables.silver, tables.dataset
    files = silver.files
    if row is None or any(row.get(name) is None for name in dataset.merge_key):
        found = silver.find(here, files)  # poison, or what was released from it by another version
        keyed = found
    else:
        key = key_of(row)
        if dataset.stable_partitions and key.date is not None and not files.is_empty():
            files = files.join(frame_of([key, Key(None, None)]), on=specs.KEYS, how="semi", nulls_equal=True)
        keyed = silver.find(of_key(published_key(dataset, row)), files)
        found = keyed
    if keyed.is_empty():
        return None, found
    columns = dict.fromkeys((*specs.COORDINATES, dataset.event_time, "_deleted", *specs.KEYS))
    rows = silver.fetch(keyed, list(columns)).to_dicts()
    if row is not None and dataset.write_mode == "history":  # of which every version stays
        own = [item for item in rows if all(item[name] == row[name] for name in PLACE)]
        rows = own or [item for item in rows if item[dataset.event_time] == row.get(dataset.event_time)]
    return next(iter(rows), None), found


def _evidence(layer: Layer, found: pl.DataFrame) -> Evidence:
    files = layer.files
    if layer.table is not None:
        files = files.filter(pl.col("path").is_in(found["_path"].unique().implode()))
    return Evidence(table=layer.table, files=files)


def _ledger(tables: Tables, partition: int, offset: int) -> Ledger:
    """The ledger, with its entries about one offset alone."""
    cursor, table = tables.cursor, tables.ledger.table
    if cursor is None or table is None:
        return Ledger()
    bounds = Ledger.read(table, cursor.topic(tables.dataset.topic.name), files=tables.ledger.files.clear())
    about = (pl.col(PLACE[0]) == partition) & pl.lit(offset).is_between("first_offset", "last_offset")
    return replace(bounds, rows=table.rows().filter(about).collect())
