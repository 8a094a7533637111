"""Whether the dead-letter topic has one letter for each poison message of Bronze, and no other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from dagster_project.accounting.soundness import Evidence
from dagster_project.contract.model import Dataset
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.outbox import cursor as outbox
from dagster_project.outbox.letters import read_letters
from dagster_project.topics.broker import Broker
from dagster_project.topics.derived import OUTBOX, dead_letters
from dagster_project.topics.offsets import Offsets, place

# Letters that a problem names.
_NAMED = 5
_BYTES = ("_key", "_payload", "_headers")


@dataclass(frozen=True, kw_only=True)
class Letters:
    """Letters of this topic, poison that is still to be sent, and what does not fit; `found` `None` without a topic."""

    found: int | None = None
    pending: int = 0
    problems: tuple[str, ...] = ()


def check_letters(dataset: Dataset, bronze: Evidence, *, forgotten: Offsets, bootstrap_servers: str) -> Letters:
    """Compare the dead-letter topic with Bronze's poison.

    Args:
        forgotten: of these Bronze has nothing, and the queue what its retention has not deleted yet.

    Raises:
        KafkaError: the broker does not answer.
    """
    assert bronze.table is not None
    cursor = Cursor.from_table(bronze.table.cursors())
    if cursor is None:
        return Letters()
    mayhold = pl.lit(specs.POISON).is_between(pl.col("min._kind"), pl.col("max._kind"))
    known = (
        bronze.table.rows(bronze.files.filter(mayhold))
        .filter(pl.col("_kind") == specs.POISON)
        .select(place(), "_batch_id", *_BYTES)
        .unique("_place")
        .collect(engine="in-memory")
    )
    poison = _without(known, forgotten)
    queue = dead_letters(dataset).name
    there = Broker(bootstrap_servers).topics([queue, OUTBOX])
    sent = outbox.NOTHING
    if OUTBOX in there:
        # The cursor first: letters that are written meanwhile are then more than it says, never fewer.
        published = outbox.cursors(bootstrap_servers=bootstrap_servers, settled=False)
        sent = published.get(outbox.key(dataset, cursor.topic_id), outbox.NOTHING)
    due = poison.filter(pl.col("_batch_id") <= sent)
    pending = len(poison) - len(due)
    if queue not in there:
        missing = _named(f"{queue} does not exist, but should have letters for", Offsets.of_rows(due))
        return Letters(pending=pending, problems=tuple(missing))
    # Settled: the parts of a transaction become visible one after the other, the cursor maybe before its letters.
    letters = read_letters(dataset, bootstrap_servers=bootstrap_servers, settled=True)
    own = _without(letters.filter(pl.col("topic_id") == cursor.topic_id).with_columns(place()), forgotten)
    # Of batches that came after Bronze was looked at nothing can be said.
    own = own.filter(pl.col("_batch_id") <= cursor.batch_id)
    first = own.unique("_place", keep="first", maintain_order=True)
    both = first.join(poison, on="_place", suffix="_bronze")
    other = both.filter(pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_bronze")) for name in _BYTES))
    doubled = own.filter(pl.col("_place").is_duplicated()).unique("_place")
    problems = [
        *_named(f"{queue} has no letter for", Offsets.of_rows(due.join(own, on="_place", how="anti"))),
        *_named(f"{queue} has more than one letter for", Offsets.of_rows(doubled)),
        *_named(f"{queue} has letters with other bytes than Bronze has at", Offsets.of_rows(other)),
        *_named(
            f"{queue} has letters for what is no poison in Bronze:",
            Offsets.of_rows(first.join(poison, on="_place", how="anti")),
        ),
    ]
    # A letter of a batch after the cursor was sent while this was read.
    waiting = poison.filter(pl.col("_batch_id") > sent).join(own, on="_place", how="anti")
    return Letters(found=len(own), pending=len(waiting), problems=tuple(problems))


def _without(rows: pl.DataFrame, offsets: Offsets) -> pl.DataFrame:
    return rows.filter(pl.Series(~offsets.has(rows["_place"].to_numpy()), dtype=pl.Boolean))


def _named(what: str, offsets: Offsets) -> Iterable[str]:
    return [f"{what} {len(offsets)} messages: {offsets.named(_NAMED)}"] if offsets else []
