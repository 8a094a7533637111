"""Whether marts that share keys and measures agree on them, as far as they are up to date."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Catalog, Conformed, Mart
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of
from dagster_project.lake.serving import serving
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.reach import readers
from dagster_project.refine.staleness import pending_gold

# The key of facts that no member of a dimension belongs to.
UNKNOWN = "unknown"
# Values, or totals, that a problem names.
_NAMED = 5
_KEY, _OWN, _OTHER = "_key", "_own", "_other"


@dataclass(frozen=True, kw_only=True)
class Conformity:
    """What was compared, and what differs.

    Attributes:
        keys: different values that were looked up in dimensions.
        unknown: of all rows, those of the unknown member.
        totals: sums that were compared with those of another mart.
        waiting: table partitions, and marts as a whole, that are still to be computed, and so were left out.
    """

    keys: int = 0
    unknown: int = 0
    totals: int = 0
    waiting: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def check_conformed(mart: Mart, *, catalog: Catalog, storage: Storage) -> Conformity:
    """Compare a mart with those it shares keys and measures with, as they are now.

    Raises:
        LakeError: the store cannot be read.
    """
    needed = {mart.name, *(item.mart for item in mart.conformed)}
    marts: list[Mart] = []
    for one in reversed(catalog.marts):  # each before what it reads
        if one.name in needed:
            marts.append(one)
            needed |= set(one.marts)
    # In this order a commit in between makes a mart stale, and never newer than its input.
    tables = {f"gold/{one.name}": Table.find(specs.gold(one), storage=storage) for one in marts}
    for name in {name for one in marts for name in one.datasets}:
        tables[f"silver/{name}"] = Table.find(specs.silver(serving(catalog, name, storage=storage)), storage=storage)
    stale: dict[str, set[Key]] = {}
    for one in reversed(marts):
        above = (
            readers(one, item, key)
            for item in one.inputs
            if item.kind == "mart" and catalog.mart(item.name).partitioned_by
            for key in stale[item.name]
        )
        stale[one.name] = set(pending_gold(one, tables, catalog=catalog)).union(*above)
    return conformity(mart, catalog=catalog, tables=tables, stale=stale)


def conformity(
    mart: Mart, *, catalog: Catalog, tables: Mapping[str, Table | None], stale: Mapping[str, Collection[Key]]
) -> Conformity:
    """Look up a mart's keys in their dimensions, and compare its measures with those of other marts.

    Args:
        tables: by `layer/name`, that of the mart and of those it names.
        stale: by name of the mart, table partitions that are older than what they are computed from, however far above.
    """
    keys = unknown = totals = 0
    problems: list[str] = []
    waiting = {f"{mart.name}/{key}" for key in stale[mart.name]}
    own = _current(mart, tables, stale[mart.name])
    for item in mart.conformed:
        other = catalog.mart(item.mart)
        theirs = _current(other, tables, stale[other.name] if other.partitioned_by else ())
        if own is None or theirs is None:
            waiting.add(mart.name if own is None else other.name)
        elif not other.partitioned_by:
            found, without, missing = _keys(item, own, theirs)
            keys, unknown = keys + found, unknown + without
            problems += _told(f"{item.column} that {item.mart}.{item.to} does not have", missing)
        else:
            waiting |= {f"{other.name}/{key}" for key in stale[other.name]}
            found, differing = _totals((mart, other), item, (own, theirs), stale)
            totals += found
            problems += _told(f"{item.column} that does not add up to {item.mart}.{item.to}", differing)
    return Conformity(
        keys=keys, unknown=unknown, totals=totals, waiting=tuple(sorted(waiting)), problems=tuple(problems)
    )


def _current(mart: Mart, tables: Mapping[str, Table | None], stale: Collection[Key]) -> pl.LazyFrame | None:
    """Rows of the table partitions that are up to date; `None` while there is no table."""
    table = tables[f"gold/{mart.name}"]
    if table is None:
        return None
    on = list(mart.partitioned_by)
    files = table.files()
    return table.rows(files.join(frame_of(stale), on=on, how="anti", nulls_equal=True) if on else files)


def _keys(item: Conformed, own: pl.LazyFrame, dimension: pl.LazyFrame) -> tuple[int, int, list[str]]:
    """How many values there are; how many rows have none; and the values that the dimension does not have."""
    found = own.group_by(pl.col(item.column).alias(_KEY)).len().collect(engine="in-memory")
    nobody = pl.col(_KEY).is_null() | (pl.col(_KEY).cast(pl.String) == UNKNOWN)
    known = found.filter(~nobody)
    members = dimension.select(pl.col(item.to).alias(_KEY)).collect(engine="in-memory")
    missing = known.join(members, on=_KEY, how="anti").sort(_KEY)
    return len(known), int(found.filter(nobody)["len"].sum()), [str(value) for value in missing[_KEY]]


def _totals(
    marts: tuple[Mart, Mart],
    item: Conformed,
    frames: tuple[pl.LazyFrame, pl.LazyFrame],
    stale: Mapping[str, Collection[Key]],
) -> tuple[int, list[str]]:
    """Sums over what the keys of both marts have in common: how many there are, and those that differ."""
    shared = [name for name in marts[0].merge_key if name in marts[1].merge_key]
    sums = [
        rows.group_by(shared).agg(pl.col(column).sum().alias(name)).collect(engine="in-memory")
        for rows, column, name in zip(frames, (item.column, item.to), (_OWN, _OTHER), strict=True)
    ]
    both = sums[0].join(sums[1], on=shared, how="full", coalesce=True, nulls_equal=True)
    for mart in marts:  # what is left out of one is left out of the other
        on = [name for name in mart.partitioned_by if name in shared]
        both = both.join(frame_of(stale[mart.name]), on=on, how="anti")
    differing = both.filter(pl.col(_OWN).fill_null(0) != pl.col(_OTHER).fill_null(0)).sort(shared)
    return len(both), [
        f"{'/'.join(map(str, row[:-2]))} ({row[-2] or 0}, there {row[-1] or 0})" for row in differing.iter_rows()
    ]


def _told(what: str, found: list[str]) -> list[str]:
    more = ", …" if len(found) > _NAMED else ""
    return [f"{len(found)} {what}: {', '.join(found[:_NAMED])}{more}"] if found else []
