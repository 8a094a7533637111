"""What the ledger tells of an offset: that it never had a message, or that its row is gone, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dagster_project.tracing.story import Stage, Step
from dagster_project.tracing.tables import Layer, Row

_STAGES: dict[str, Stage] = {"lost": "lost", "expired": "expired", "forgotten": "forgotten"}
_TEXTS = {
    "control": "found to be the mark of the end of a transaction, not a message",
    "aborted": "found to be a message of an aborted transaction",
    "compacted": "found to be taken away by the broker's compaction",
    "unseen": "found to be missing, and deleted from the broker before it was looked at",
    "lost": "declared lost",
    "expired": "deleted from Bronze after the retention",
    "forgotten": "erased from every layer",
}


def entries(layer: Layer, rows: Iterable[Row]) -> Iterator[Step]:
    """One step for each entry."""
    for row in rows:
        text = _TEXTS[row["kind"]]
        if row["declared_by"]:
            text += f" by {row['declared_by']}"
        if row["kind"] == "expired" and row["place"]:
            text += f"; it was one of {row['place'].replace('_', ' ')} then"
        if row["note"]:
            text += f": {row['note']}"
        facts = {name: row[name] for name in ("kind", "note", "declared_by", "place", "first_offset", "last_offset")}
        yield Step(
            stage=_STAGES.get(row["kind"], "gap"), at=row["recorded_at"], where=layer.name, text=text, facts=facts
        )
