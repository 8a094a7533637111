"""What became of each Bronze row, decided by what the other tables hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from dagster_project.accounting.problems import damage
from dagster_project.accounting.soundness import Evidence
from dagster_project.accounting.versions import KEY, superseded, versions
from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.ledger.ledger import EXPIRED
from dagster_project.refine.holds import holds, is_in
from dagster_project.refine.merge import doubled_keys
from dagster_project.refine.plan import progress
from dagster_project.refine.quarantine import released_through
from dagster_project.topics.offsets import Offsets, Places, place


@dataclass(frozen=True, kw_only=True)
class Fates:
    """Bronze's offsets by what became of them, in sets that share no offset.

    Attributes:
        bronze: all of them.
        expired: offsets whose rows the retention has deleted from Bronze; each is in one of the other sets, too, or lost.
        pending: not yet looked at by Silver, or on their way there from quarantine.
        held: held back by the gate, to be judged anew.
        doubled: in more than one place.
        lost: in Bronze, read by Silver, and nowhere.
        strays: by layer, offsets that are not in Bronze.
        doubled_keys: identities with more than one row in Silver.
        rows, deleted: of Bronze: how many it has, and how many the retention has taken from it, by its own count.
    """

    bronze: Offsets
    expired: Offsets
    silver: Offsets
    superseded: Offsets
    quarantined: Offsets
    tombstones: Offsets
    pending: Offsets
    held: Offsets
    doubled: Offsets
    lost: Offsets
    strays: dict[str, Offsets]
    doubled_keys: int
    rows: int
    deleted: int

    def problems(self) -> list[str]:
        strays = [
            line for layer, offsets in self.strays.items() for line in damage(offsets, f"in {layer}, but not in Bronze")
        ]
        doubled = f"{self.doubled_keys} merge keys have more than one row in Silver"
        miscounted = f"{self.deleted} rows of Bronze have expired, but the ledger has {len(self.expired)} of them"
        return [
            *damage(self.lost, "neither in Silver, superseded, nor quarantined"),
            *damage(self.doubled, "in more than one place"),
            *strays,
            *([doubled] if self.doubled_keys else []),
            *([miscounted] if self.deleted != len(self.expired) else []),
        ]


def fates(
    dataset: Dataset,
    *,
    bronze: Evidence,
    silver: Evidence,
    quarantine: Evidence,
    expired: Mapping[str, Offsets] | None = None,
    lost: Offsets | None = None,
    forgotten: Offsets | None = None,
) -> Fates:
    """Give each row of Bronze its place, and each that it once had.

    Args:
        expired: as of `Ledger.expired`; those that are in Bronze all the same count as rows like any other.
        lost: given up by a person, so that nothing is claimed of them.
        forgotten: to be erased, so that nothing is claimed of them either, wherever they still are.
    """
    forgotten = forgotten or Offsets()
    scopes = {} if silver.table is None else holds(silver.table.cursors())
    places, poison, waiting, held = _bronze(dataset, bronze, progress(silver.table), scopes)
    everything, twice = Offsets.of_places(places), _twice(places)
    was = {place: offsets - everything for place, offsets in (expired or {}).items()}
    deleted = Offsets.union(*was.values())
    gone = deleted - (lost or Offsets())
    known = (everything | gone) - forgotten
    refined = versions(dataset, silver)
    live, marks = (Offsets.of_rows(refined.filter(pl.col("_deleted") == deleted)) for deleted in (False, True))
    in_silver = live | marks
    in_quarantine, released = _quarantine(quarantine, released_through(silver.table))
    doubled = (twice & known) | (in_silver & in_quarantine & known) | (poison & (in_silver | in_quarantine))
    left = known - doubled
    poisoned, left = left & poison, left - poison
    kept, left = left & held, left - held
    pending, left = left & waiting, left - waiting
    leaving = (left & released) - in_silver
    pending, left = pending | leaving, left - leaving
    tombstones, left = left & marks, left - marks
    shown, left = left & live, left - live
    gated, left = left & in_quarantine, left - in_quarantine
    passed, left = left & gone, left - gone
    beaten, deletes = superseded(dataset, bronze, left, refined)
    # Of what has expired only the ledger knows the key. A row that Silver had may have a newer version by now; of an
    # append-only dataset, and of a history, it has none and stays for ever, like what is in quarantine.
    fleeting = ("superseded", "silver_rows") if dataset.write_mode == "upsert" else ("superseded",)
    if dataset.reads_payloads:  # what another major version had in quarantine may have been superseded here
        fleeting = (*fleeting, "quarantined")
    overtaken = passed & Offsets.union(*(was.get(place, Offsets()) for place in fleeting))
    undone = passed & was.get("tombstones", Offsets())
    keys = refined[KEY]
    return Fates(
        bronze=everything,
        expired=deleted,
        silver=shown,
        superseded=beaten | overtaken,
        quarantined=poisoned | gated,
        tombstones=tombstones | deletes | undone,
        pending=pending,
        held=kept,
        doubled=doubled,
        lost=(left - beaten - deletes) | (passed - overtaken - undone),
        strays={
            layer: offsets - known - forgotten
            for layer, offsets in (("silver", in_silver), ("quarantine", in_quarantine))
        },
        # Two keys may have one hash, if once in a million tables of this size: then the keys themselves decide.
        doubled_keys=doubled_keys(dataset, silver.table, silver.files)
        if silver.table is not None and keys.n_unique() < len(keys)
        else 0,
        rows=len(places),
        deleted=0 if bronze.table is None else bronze.table.cursors().get(EXPIRED, 0),
    )


def _bronze(
    dataset: Dataset, bronze: Evidence, done: Mapping[Key, int], scopes: Collection[Key]
) -> tuple[Places, Offsets, Offsets, Offsets]:
    """All places, sorted; those of poison; those that Silver has not looked at; and those that are held back."""
    if bronze.table is None:
        return np.empty(0, np.int64), Offsets(), Offsets(), Offsets()
    through = [done.get(Key(*row), -1) for row in bronze.files.select(specs.KEYS).iter_rows()]
    held = [is_in(Key(*row), scopes) for row in bronze.files.select(specs.KEYS).iter_rows()]
    files = bronze.files.with_columns(pl.Series("_through", through, pl.Int64), pl.Series("_held", held, pl.Boolean))
    # A file of nothing but events that Silver has seen, as nearly all are, need not be asked row by row.
    plain = (
        (pl.col("min._kind") == specs.EVENT)
        & (pl.col("max._kind") == specs.EVENT)
        & (pl.col("max._batch_id") <= pl.col("_through"))
    ).fill_null(False)
    settled = bronze.table.rows(files.filter(plain)).select(place()).collect(engine="in-memory")
    bounds = files.select(*specs.KEYS, "_through", "_held").unique()
    rest = (
        bronze.table.rows(files.filter(~plain))
        .select(place(), "_kind", "_batch_id", *specs.KEYS)
        .join(bounds.lazy(), on=specs.KEYS, nulls_equal=True)
        .collect(engine="in-memory")
    )
    # Another major version's poison is a row like any other: it is in Silver here, or in quarantine.
    poison = pl.lit(value=False) if dataset.reads_payloads else pl.col("_kind") == specs.POISON
    waiting = rest.filter(~poison & (pl.col("_batch_id") > pl.col("_through")))
    return (
        pl.concat([settled, rest.select("_place")])["_place"].sort().to_numpy(),
        Offsets.of_rows(rest.filter(poison)),
        Offsets.of_rows(waiting.filter(~pl.col("_held"))),
        Offsets.of_rows(waiting.filter("_held")),
    )


def _quarantine(quarantine: Evidence, through: int) -> tuple[Offsets, Offsets]:
    """What is in quarantine; and what was released by a version that Silver has not taken over."""
    if quarantine.table is None:
        return Offsets(), Offsets()
    rows = quarantine.table.rows(quarantine.files).select(place(), specs.RELEASE).collect(engine="in-memory")
    release = pl.col(specs.RELEASE)
    return Offsets.of_rows(rows.filter(release.is_null())), Offsets.of_rows(rows.filter(release > through))


def _twice(places: Places) -> Offsets:
    return Offsets.of_places(places[1:][places[1:] == places[:-1]])
