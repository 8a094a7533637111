"""Silver's rows made anew from Bronze, where they hold what the contract protects otherwise by now, or another secret made."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.errors import ExpiredError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.quality.gate import judge
from dagster_project.refine.cursors import cursor_name
from dagster_project.refine.payloads import read_again
from dagster_project.refine.protect import protect, pseudonymised
from dagster_project.refine.pseudonyms import PATTERN, Keyring
from dagster_project.refine.quarantine import PLACE
from dagster_project.refine.recover import COLUMNS, fingerprint, outdated, recover
from dagster_project.refine.staging import columns_of
from dagster_project.topics.offsets import place

# Rows of one commit: bounds memory at some hundred MB whatever the table.
_ROWS = 500_000


def restate(dataset: Dataset, *, storage: Storage) -> dict[Key, int]:
    """Bring Silver to the contract's columns and the keyring's first secret; does nothing where it is there.

    A row that Bronze has no longer keeps its pseudonyms; values of it that are still in the clear get them.

    Returns:
        By table partition, how many rows are other ones now.

    Raises:
        ConfigurationError: there is no secret.
        ExpiredError: a part of the key could be made anew in some rows only; nothing was written.
        StaleCursorError: another run works on the same table; the next one goes on.
    """
    found = Table.find(specs.silver(dataset), storage=storage)
    if found is None or not outdated(dataset, found):
        return {}
    silver = Table.open(specs.silver(dataset), storage=storage)
    bronze = Table.open(specs.bronze(dataset), storage=storage)
    _refuse_two_secrets(dataset, silver, bronze)
    restated = _remade(dataset, silver, bronze, silver.files())
    silver.commit(pl.DataFrame(schema=dict(silver.schema)), cursors={COLUMNS: fingerprint(dataset)})
    return restated


def remake(dataset: Dataset, *, storage: Storage, keys: Collection[Key]) -> dict[Key, int]:
    """Bring the values of some table partitions of Silver to what Bronze has of their rows; those that it has no longer stay.

    Returns:
        By table partition, how many rows are other ones now.

    Raises:
        ConfigurationError: there is no secret, and the contract has columns to be pseudonymised.
        StaleCursorError: another run works on the same table; the next one goes on.
    """
    silver = Table.find(specs.silver(dataset), storage=storage)
    if silver is None:
        return {}
    bronze = Table.open(specs.bronze(dataset), storage=storage)
    files = silver.files().join(frame_of(keys), on=specs.KEYS, how="semi", nulls_equal=True)
    return _remade(dataset, silver, bronze, files)


def _remade(dataset: Dataset, silver: Table, bronze: Table, files: pl.DataFrame) -> dict[Key, int]:
    restated: dict[Key, int] = {}
    for portion in _portions(files):
        rows = silver.rows(portion).collect(engine="in-memory")
        anew = _from_bronze(dataset, rows, portion, bronze=bronze, silver=silver)
        older = _hidden(dataset, rows.join(anew, on=PLACE, how="anti"), silver)
        better = pl.concat([anew, older.select(anew.columns)]).sort(PLACE)
        rows = rows.sort(PLACE)
        other = pl.any_horizontal(better[name].ne_missing(rows[name]) for name in rows.columns)
        changed = better.filter(better.select(other).to_series())
        if changed.is_empty():
            continue
        silver.commit(
            better,
            remove=portion,
            cursors={},
            marks=[cursor_name("changed", key) for key in keys_of(changed)],
            metadata={"restated": len(changed)},
        )
        for date, region, count in changed.group_by(specs.KEYS).len().iter_rows():
            key = Key(date, region)
            restated[key] = restated.get(key, 0) + count
    return restated


def _from_bronze(
    dataset: Dataset, rows: pl.DataFrame, portion: pl.DataFrame, *, bronze: Table, silver: Table
) -> pl.DataFrame:
    """What Bronze still has of some rows of Silver, as it would be published today."""
    files = bronze.files().join(portion.select(specs.KEYS).unique(), on=specs.KEYS, how="semi", nulls_equal=True)
    there = place().is_in(rows.select(place()).to_series().implode())
    stored = bronze.rows(files).filter(there).collect(engine="in-memory")
    if dataset.reads_payloads:
        stored = read_again(dataset, stored)
    known = stored.filter(pl.col("_kind") != specs.POISON).with_columns(
        (pl.col("_kind") == specs.TOMBSTONE).alias("_deleted")
    )
    found = known.select(columns_of(dataset, silver, known.columns))
    verdict = judge(dataset, recover(dataset, found))
    # What would break a rule with the values of a column that is new, stays as it was.
    plain = found.join(verdict.bad.select(PLACE), on=PLACE, how="semi")
    return protect(dataset, pl.concat([verdict.good, plain]), silver.schema)


def _hidden(dataset: Dataset, rows: pl.DataFrame, silver: Table) -> pl.DataFrame:
    """Rows that only Silver has, without what it has in the clear since the contract allowed it."""
    made = pseudonymised(dataset, rows)
    names = [column.name for column in dataset.protected if column.protection == "pseudonymise"]
    kept = (
        pl.when(rows[name].str.contains(PATTERN)).then(rows[name]).otherwise(made[name]).alias(name) for name in names
    )
    dropped = [c.name for c in dataset.protected if c.protection == "drop" and c.name in rows.columns]
    nothing = (pl.lit(None, silver.schema[name]).alias(name) for name in (*dropped, specs.RESCUED))
    return rows.with_columns(*kept, *nothing)


def _refuse_two_secrets(dataset: Dataset, silver: Table, bronze: Table) -> None:
    """A merge tells rows by their key, so all pseudonyms in it must be of one secret."""
    names = [c.name for c in dataset.protected if c.protection == "pseudonymise" and c.name in dataset.merge_key]
    if not names:
        return
    first = Keyring.load().first.name
    made_by_others = (pl.col(name).str.contains(PATTERN) & ~pl.col(name).str.starts_with(f"{first}.") for name in names)
    old = silver.rows().filter(pl.any_horizontal(made_by_others)).select(place()).collect(engine="in-memory")
    if old.is_empty():
        return
    there = bronze.rows().select(place()).filter(pl.col("_place").is_in(old["_place"].implode())).collect()
    if left := len(old) - len(there):
        raise ExpiredError(
            f"silver/{dataset.name}: {left:,} keys have pseudonyms of another secret than {first!r}, and Bronze has the "
            "values no longer",
            expected="every row that a pseudonym of the key is made anew for; nothing was written",
            remedy="put the secret that made them first again; a key is rotated within Bronze's retention, or never",
        )


def _portions(files: pl.DataFrame) -> list[pl.DataFrame]:
    number = (pl.col("num_records").cum_sum() // _ROWS).alias("_portion")
    return (
        files.sort(*specs.KEYS, "path")
        .with_columns(number)
        .partition_by("_portion", maintain_order=True, include_key=False)
    )
