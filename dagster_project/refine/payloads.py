"""Bronze rows on their way into Silver: as they are typed there or, in a later major version, decoded again.

What Bronze has typed, called poison, or put into no table partition is the verdict of one major version. Another one has its
own: it reads the payloads of all rows. What it cannot decode goes to its quarantine.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.ingest.bronze import place as decode
from dagster_project.ingest.fetch import Fetched
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.refine.quarantine import PLACE
from dagster_project.refine.recover import recover
from dagster_project.refine.staging import columns_of, new_rows

_MESSAGE = (*(name for name in specs.COORDINATES if name != "_batch_id"), *specs.MESSAGE)
_REASONS = "_reasons"
_HELD = "gate.held: its table partition is held back"


@dataclass(frozen=True, kw_only=True)
class Staged:
    """Rows of some Bronze files.

    Attributes:
        rows: in Silver's columns.
        unread: those that cannot be decoded, with `_reasons`, in Bronze's table partitions.
        homeless: places of rows that have a table partition in Silver but none in Bronze, and so no cursor that would wait
            for them: what of them is not published goes to quarantine.
    """

    rows: pl.DataFrame
    unread: pl.DataFrame
    homeless: pl.DataFrame

    def placed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of the rows that Bronze has in the same table partition."""
        return (
            rows if self.homeless.is_empty() else rows.join(self.homeless, on=PLACE, how="anti", maintain_order="left")
        )

    def readable(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of the rows that were decoded, and that Bronze has in the same table partition."""
        placed = self.placed(rows)
        return (
            placed if self.unread.is_empty() else placed.join(self.unread, on=PLACE, how="anti", maintain_order="left")
        )

    def strays(self, bad: pl.DataFrame, good: pl.DataFrame, *, published: pl.DataFrame) -> pl.DataFrame:
        """Homeless rows that broke a rule or are held back, as quarantine takes them: where Bronze has them.

        Args:
            published: of the good ones.
        """
        if self.homeless.is_empty():
            return bad.clear()
        held = good.join(self.homeless, on=PLACE, how="semi").join(published, on=PLACE, how="anti")
        reasons = pl.lit([_HELD], pl.List(pl.String)).alias(_REASONS)
        # Quarantine takes no values from them, and those of the one may be pseudonyms.
        both = pl.concat(rows.select(*specs.COORDINATES, _REASONS) for rows in (bad, held.with_columns(reasons)))
        nowhere = (pl.lit(None, dtype).alias(name) for name, dtype in specs.PARTITION.items())
        return both.join(self.homeless, on=PLACE, how="semi", maintain_order="left").with_columns(nowhere)


def stage(dataset: Dataset, bronze: Table, files: pl.DataFrame, silver: Table) -> Staged:
    """Rows after each table partition's last batch.

    Args:
        files: of Bronze, as `pending_files` gives them.
    """
    if not dataset.reads_payloads:
        rows = recover(dataset, new_rows(dataset, bronze, files, silver))
        nothing = rows.clear().with_columns(pl.lit(None, pl.List(pl.String)).alias(_REASONS))
        return Staged(rows=rows, unread=nothing, homeless=nothing.select(PLACE))
    done = files.select(*specs.KEYS, "_done").unique()
    messages = (
        bronze.rows(files)
        .join(done.lazy(), on=specs.KEYS, nulls_equal=True, maintain_order="left")
        .filter(pl.col("_batch_id") > pl.col("_done"))
        .select(*specs.COORDINATES, *specs.MESSAGE, *specs.KEYS)
        .collect(engine="in-memory")
    )
    decoded = read_again(dataset, messages)
    known = {*decoded.columns}
    unread = pl.col("_kind") == specs.POISON
    reasons = pl.concat_list(specs.ERROR).alias(_REASONS)
    lost = decoded.with_columns(messages[name] for name in specs.KEYS).filter(unread)
    homed = messages["event_date"].is_not_null() | decoded["event_date"].is_null()
    return Staged(
        rows=decoded.filter(~unread).select(columns_of(dataset, silver, known)),
        unread=lost.select(*columns_of(dataset, silver, known), reasons),
        homeless=decoded.filter(~homed).select(PLACE),
    )


def read_again(dataset: Dataset, messages: pl.DataFrame, *, registry: str = "") -> pl.DataFrame:
    """Decode messages by the present contract: its columns, `_kind`, `_error` and `_deleted`, in order.

    Args:
        messages: with the columns `COORDINATES` and `MESSAGE`.
        registry: URL of the schema registry, where the contract's messages name schemas.
    """
    from dagster_project.ingest.wire import decoder_of

    fetched = Fetched(messages=messages.select(_MESSAGE), next={}, caught_up=True)
    return decode(dataset, fetched, decoder_of(dataset, registry=registry)).with_columns(
        messages["_batch_id"], (pl.col("_kind") == specs.TOMBSTONE).alias("_deleted")
    )
