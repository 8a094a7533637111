"""The ledger read and judged with nothing of the platform: the log by delta-rs, files by pyarrow, sums by pandas."""

# pandas' annotations give a union for nearly every expression, and pyarrow makes its functions at run time.
# pyright: reportIndexIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

# Where a posting's event was first delivered: what another order of sending may change.
COORDINATES = ["kafka_partition", "kafka_offset", "correlation_id"]
_MONEY = ("debit", "credit")
_HUNDRED = pa.scalar(Decimal(100))
# Postings that a problem names.
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Version:
    """What a published version of the ledger holds."""

    version: int
    postings: int
    transactions: int
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Page:
    postings: int
    transactions: int
    problems: tuple[str, ...]


@dataclass(kw_only=True)
class Books:
    """The versions of a ledger, the oldest first. A table partition that two versions share is judged once."""

    folder: Path
    _pages: dict[tuple[str, ...], _Page] = field(default_factory=dict)

    def versions(self, first: int = 0) -> Iterator[Version]:
        for number in range(first, DeltaTable(str(self.folder)).version() + 1):
            pages = {name: self._page(paths) for name, paths in self._files(number).items()}
            yield Version(
                version=number,
                postings=sum(page.postings for page in pages.values()),
                transactions=sum(page.transactions for page in pages.values()),
                problems=tuple(f"{name}: {text}" for name, page in pages.items() for text in page.problems),
            )

    def postings(self) -> pd.DataFrame:
        """All rows of the newest version, by posting."""
        files = self._files(DeltaTable(str(self.folder)).version())
        frames = [
            _read(self.folder, path).assign(event_date=date, region=region)
            for name, paths in files.items()
            for date, _, region in [name.partition("/")]
            for path in paths
        ]
        return pd.concat(frames).sort_values("posting_id", ignore_index=True)

    def _files(self, version: int) -> dict[str, tuple[str, ...]]:
        """By table partition, its files."""
        actions = pl.DataFrame(DeltaTable(str(self.folder), version=version).get_add_actions(flatten=True))
        found: dict[str, list[str]] = defaultdict(list)
        if actions.height:
            for path, date, region in actions.select("path", "partition.event_date", "partition.region").iter_rows():
                found[f"{date}/{region}"].append(path)
        return {name: tuple(sorted(paths)) for name, paths in found.items()}

    def _page(self, paths: tuple[str, ...]) -> _Page:
        if paths not in self._pages:
            rows = pd.concat([_read(self.folder, path) for path in paths])
            self._pages[paths] = _Page(
                postings=len(rows), transactions=rows["transaction_id"].nunique(), problems=tuple(_judge(rows))
            )
        return self._pages[paths]


def _judge(rows: pd.DataFrame) -> Iterator[str]:
    """What is wrong with postings that belong together."""
    sums = rows.groupby(["transaction_id", "currency"])[[*_MONEY]].sum()
    if crooked := int((sums["debit"] != sums["credit"]).sum()):
        yield f"{crooked} transactions do not balance"
    totals = rows.groupby("currency")[[*_MONEY]].sum()
    for currency, total in totals[totals["debit"] != totals["credit"]].iterrows():
        yield f"{currency} does not balance: {total['debit']} ≠ {total['credit']}"
    if doubled := int(rows["posting_id"].duplicated().sum()):
        yield f"{doubled} postings twice"
    events = rows.groupby("payment_id")["sequence"].agg(["min", "max", "nunique"])
    if gaps := int(((events["min"] != 1) | (events["max"] != events["nunique"])).sum()):
        yield f"{gaps} payments with a gap"


def expected(events: pd.DataFrame) -> pd.DataFrame:
    """The postings of delivered payment events, of which some may be delivered more than once; by posting.

    Args:
        events: the contract's columns, `amount` in cents, and `kafka_partition, kafka_offset, correlation_id`.
    """
    first = events.sort_values(["event_time", "kafka_offset"]).drop_duplicates(["payment_id", "sequence"])
    first = first.sort_values(["payment_id", "sequence"], ignore_index=True)
    captured = first["kind"] == "capture"
    capture = first["sequence"].where(captured).groupby(first["payment_id"]).ffill().astype("Int64")
    transaction = first["payment_id"] + "|" + first["sequence"].astype("str")
    cash, revenue, lost = "cash:" + first["currency"], "revenue:" + first["region"], "chargebacks:" + first["region"]
    common = pd.DataFrame(
        {
            "event_date": first["payment_at"].dt.strftime("%Y-%m-%d"),
            "region": first["region"],
            "transaction_id": transaction,
            "currency": first["currency"],
            "kind": first["kind"],
            "reverses": (first["payment_id"] + "|" + capture.astype("str")).where(~captured, None),
            "payment_id": first["payment_id"],
            "sequence": first["sequence"],
            "order_id": first["order_id"],
            "posted_at": first["event_time"],
            **{name: first[name] for name in COORDINATES},
        }
    )
    sides = (
        (1, np.where(captured, cash, np.where(first["kind"] == "refund", revenue, lost)), first["amount"], 0),
        (2, np.where(captured, revenue, cash), 0, first["amount"]),
    )
    lines = [
        common.assign(posting_id=transaction + f"|{line}", line=line, account=account, debit=debit, credit=credit)
        for line, account, debit, credit in sides
    ]
    return pd.concat(lines).sort_values("posting_id", ignore_index=True)


def balances(postings: pd.DataFrame) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """By region, account and currency: debit, credit, and one minus the other."""
    sums = postings.groupby(["region", "account", "currency"])[[*_MONEY]].sum()
    return {place: (debit, credit, debit - credit) for place, debit, credit in sums.itertuples()}


def differences(found: pd.DataFrame, wanted: pd.DataFrame, *, but: tuple[str, ...] = ()) -> list[str]:
    """How postings differ from what they must be, column by column."""
    problems: list[str] = []
    for what, one, other in (("missing", wanted, found), ("too many", found, wanted)):
        rest = one.loc[~one["posting_id"].isin(other["posting_id"]), "posting_id"]
        if len(rest):
            problems.append(f"{len(rest)} postings {what}: {', '.join(rest[:_NAMED])}")
    if set(found) != set(wanted):
        problems.append(f"columns {sorted(set(found) ^ set(wanted))}")
    if not problems:
        for name in wanted.columns.drop(list(but)):
            same = (found[name] == wanted[name]) | (found[name].isna() & wanted[name].isna())
            if not same.all():
                problems.append(f"{name} of {int((~same).sum())} postings: {found.loc[~same, 'posting_id'].iloc[0]}, …")
    return problems


def _read(folder: Path, path: str) -> pd.DataFrame:
    """A file, with amounts in cents: whole numbers, so that sums are exact."""
    rows = pq.ParquetFile(folder / unquote(path)).read()
    for name in _MONEY:
        cents = pc.cast(pc.multiply(rows[name], _HUNDRED), pa.int64())
        rows = rows.set_column(rows.schema.get_field_index(name), name, cents)
    return rows.to_pandas()
