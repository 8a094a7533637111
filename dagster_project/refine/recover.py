"""Values of columns that a contract has gained, from what was rescued before it knew them."""

from __future__ import annotations

import hashlib

import polars as pl

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, keys_of
from dagster_project.lake.specs import ERROR, RESCUED
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.quality.gate import judge
from dagster_project.refine.cursors import cursor_name
from dagster_project.refine.pseudonyms import Keyring

# The cursor that says which columns all rows of Silver have been brought to.
COLUMNS = "columns"
_SEVERAL = 0  # runs with different contracts have written
# Rows of one commit: bounds memory at some hundred MB whatever the table.
_ROWS = 500_000
_AT = "_at"


def fingerprint(dataset: Dataset) -> int:
    """A number that changes with the contract's columns and what protects them, small enough for a cursor."""
    text = repr(sorted((name, str(dtype)) for name, dtype in polars_schema(dataset.columns).items()))
    if dataset.protected:
        how = sorted((column.name, column.protection, column.pseudonym_domain) for column in dataset.protected)
        made = any(column.protection == "pseudonymise" for column in dataset.protected)
        # Told by a pseudonym of its own, a secret is told from another one of its name, too.
        text += repr((how, Keyring.load().first.pseudonym("", domain="fingerprint") if made else ""))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def recover(dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with what the contract knows by now of their `_rescued`; where a value does not fit, the row stays as it is.

    Args:
        rows: with Silver's columns at least.
    """
    if rows[RESCUED].null_count() == len(rows):
        return rows
    from dagster_project.ingest.decode import Decoder

    some = rows.with_row_index(_AT).filter(pl.col(RESCUED).is_not_null())
    decoded = Decoder(dataset.columns, largest=dataset.topic.largest_bytes).decode(some[RESCUED].cast(pl.Binary))
    fits = decoded[ERROR].is_null()
    some, decoded = some.filter(fits), decoded.filter(fits)
    # An object has what was decoded now, unless another contract knew fields of it that this one does not.
    wanted = polars_schema(dataset.columns)
    newer = [name for name, dtype in wanted.items() if rows.schema[name] != dtype]
    decoded = decoded.select(*(pl.col(name).cast(rows.schema[name]) for name in wanted), RESCUED)
    better = some.with_columns(
        *(
            pl.coalesce(pl.col(name), decoded[name]) if name in newer else pl.coalesce(decoded[name], pl.col(name))
            for name in wanted
        ),
        decoded[RESCUED],
    )
    # Each row from where it is known: the better ones stand behind all others.
    behind = pl.int_range(len(rows), len(rows) + len(better), dtype=pl.UInt32, eager=True)
    order = pl.int_range(len(rows), dtype=pl.UInt32, eager=True).scatter(better[_AT], behind)
    return pl.concat([rows, better.drop(_AT)])[order]


def outdated(dataset: Dataset, silver: Table | None) -> bool:
    """Whether there may be rows in Silver that were written without all of the contract's columns."""
    return silver is not None and silver.cursors().get(COLUMNS) != fingerprint(dataset)


def columns_after(dataset: Dataset, silver: Table) -> int:
    """The cursor `COLUMNS` of a commit that adds rows: it says nothing of those that were there before."""
    own = fingerprint(dataset)
    return own if silver.cursors().get(COLUMNS, own) == own else _SEVERAL


def backfill(dataset: Dataset, *, storage: Storage) -> dict[Key, int]:
    """Bring Silver's older rows to the columns that the contract has now; does nothing where they have them.

    A row that would then break a rule stays as it was: what it says is still in `_rescued`.

    Returns:
        By table partition, how many rows have gained a value.

    Raises:
        StaleCursorError: another run works on the same table; it goes on, this one ends.
    """
    silver = Table.find(specs.silver(dataset), storage=storage)
    if silver is None or not outdated(dataset, silver):
        return {}
    silver = Table.open(specs.silver(dataset), storage=storage)
    filled: dict[Key, int] = {}
    for portion in _portions(silver):
        rows = silver.rows(portion).collect(engine="in-memory")
        better = recover(dataset, rows).with_row_index(_AT)
        gained = better.filter(pl.any_horizontal(better[name].ne_missing(rows[name]) for name in rows.columns))
        gained = judge(dataset, gained).good
        if gained.is_empty():
            continue
        rest = rows.with_row_index(_AT).join(gained.select(_AT), on=_AT, how="anti")
        silver.commit(
            pl.concat([rest, gained]).drop(_AT),
            remove=portion,
            cursors={},
            marks=[cursor_name("changed", key) for key in keys_of(gained)],
            metadata={"backfilled": len(gained)},
        )
        for date, region, count in gained.group_by(specs.KEYS).len().iter_rows():
            key = Key(date, region)
            filled[key] = filled.get(key, 0) + count
    silver.commit(pl.DataFrame(schema=dict(silver.schema)), cursors={COLUMNS: fingerprint(dataset)})
    return filled


def _portions(silver: Table) -> list[pl.DataFrame]:
    """Files with something rescued, as many to a commit as fit into memory."""
    holding = (
        silver.rows(with_path=True).filter(pl.col(RESCUED).is_not_null()).select(pl.col("_path").unique()).collect()
    )
    files = silver.files().join(holding, left_on="path", right_on="_path", how="semi")
    number = (pl.col("num_records").cum_sum() // _ROWS).alias("_portion")
    return files.with_columns(number).partition_by("_portion", maintain_order=True, include_key=False)
