"""How large tables are, and what became of their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import polars as pl

from dagster_project.contract.model import DATE_COLUMN
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.metrics.family import Family, Sample

_TABLE = ("layer", "table")
VERSION = Family(name="lakehouse_table_version", help="Newest version of a table", unit="versions", labels=_TABLE)
FILES = Family(name="lakehouse_table_files", help="Data files of a table's newest version", unit="files", labels=_TABLE)
BYTES = Family(name="lakehouse_table_bytes", help="Size of these files", unit="bytes", labels=_TABLE)
ROWS = Family(
    name="lakehouse_rows",
    help="Rows by what became of them: in Bronze event, poison or tombstone; in Silver row or delete; in quarantine "
    "waiting or released; else row",
    unit="rows",
    labels=(*_TABLE, "fate"),
)
REASONS = Family(
    name="lakehouse_quarantined_rows",
    help="Rows that wait in quarantine, by the rule that they break; one that breaks two counts for both",
    unit="rows",
    labels=("table", "rule"),
)
LOST = Family(
    name="lakehouse_lost_offsets", help="Offsets that a person has declared lost", unit="offsets", labels=("dataset",)
)
FAMILIES = (VERSION, FILES, BYTES, ROWS, REASONS, LOST)

# Rules have names in the contract, so there are few; this bounds what contracts that come and go leave behind.
_MOST_RULES = 50
_ROW, _DELETE, _WAITING, _RELEASED, _RULE = "row", "delete", "waiting", "released", "rule "


class Counted:
    """Counts rows, and reads of each file only what the log does not say, once: files never change."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, Counter[str]]] = {}

    def samples(self, name: str, table: Table) -> Iterator[Sample]:
        """All of one table, named `layer/name`."""
        layer, _, own = name.partition("/")
        files = table.files()
        yield VERSION.of(table.version, layer, own)
        yield FILES.of(len(files), layer, own)
        yield BYTES.of(int(files["size_bytes"].sum()), layer, own)
        match layer:
            case "bronze":
                fates = self._bronze(table, files)
            case "silver":
                fates = _silver(files)
            case "quarantine":
                reasons, fates = self._quarantine(table, files)
                for rule, count in reasons.most_common(_MOST_RULES):
                    yield REASONS.of(count, own, rule)
            case "ledger":
                lost = files.filter(pl.col("kind") == "lost")
                length = pl.col("last_offset") - pl.col("first_offset") + 1
                yield LOST.of(self._sum(table, lost, pl.concat_list("kind"), length)["lost"], own)
                return
            case _:
                fates = Counter({_ROW: int(files["num_records"].sum())})
        for fate, count in sorted(fates.items()):
            yield ROWS.of(count, layer, own, fate)

    def _bronze(self, table: Table, files: pl.DataFrame) -> Counter[str]:
        """By kind. A file of events has no others; one of what has no table partition may have both poison and deletes."""
        alike = (pl.col("min._kind") == pl.col("max._kind")).fill_null(value=False)
        fates = Counter[str](dict.fromkeys((specs.EVENT, specs.POISON, specs.TOMBSTONE), 0))
        fates.update(dict(files.filter(alike).group_by("min._kind").agg(pl.sum("num_records")).iter_rows()))
        fates.update(self._sum(table, files.filter(~alike), pl.concat_list("_kind"), pl.lit(1)))
        return fates

    def _quarantine(self, table: Table, files: pl.DataFrame) -> tuple[Counter[str], Counter[str]]:
        """Rows that wait, by rule; and rows that wait or have left for Silver."""
        waits = pl.col(specs.RELEASE).is_null()
        fate = pl.when(waits).then(pl.lit(_WAITING)).otherwise(pl.lit(_RELEASED))
        # Told from the fates by what stands before them.
        rules = pl.when(waits).then(pl.col("_reasons").list.eval(pl.lit(_RULE) + pl.element())).fill_null([])
        found = self._sum(table, files, pl.concat_list(fate, rules), pl.lit(1))
        reasons = Counter({name.removeprefix(_RULE): n for name, n in found.items() if name.startswith(_RULE)})
        return reasons, Counter({name: found[name] for name in (_WAITING, _RELEASED)})

    def _sum(self, table: Table, files: pl.DataFrame, names: pl.Expr, value: pl.Expr) -> Counter[str]:
        """Add up a value of each row under each of its names."""
        known = self._files.get(table.uri, {})
        fresh = files.filter(~pl.col("path").is_in(list(known)))
        counts = {path: Counter[str]() for path in fresh["path"]}
        if not fresh.is_empty():
            rows = table.rows(fresh, with_path=True).select("_path", names.alias("name"), value.alias("value"))
            summed = rows.explode("name").group_by("_path", "name").agg(pl.sum("value")).collect(engine="in-memory")
            for path, name, total in summed.iter_rows():
                counts[path][name] = total
        self._files[table.uri] = {path: known.get(path) or counts[path] for path in files["path"]}
        return sum(self._files[table.uri].values(), Counter[str]())


def _silver(files: pl.DataFrame) -> Counter[str]:
    """Deletes are marks without a table partition."""
    counts: Mapping[bool, int] = dict(
        files.group_by(pl.col(DATE_COLUMN).is_null()).agg(pl.sum("num_records")).iter_rows()
    )
    return Counter({_ROW: counts.get(False, 0), _DELETE: counts.get(True, 0)})
