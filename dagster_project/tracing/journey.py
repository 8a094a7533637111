"""The whole way of an event, from the broker to the marts, told from the tables' own commits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from dagster_project.contract.model import Catalog
from dagster_project.errors import LakeError
from dagster_project.lake.keys import Key
from dagster_project.lake.serving import written
from dagster_project.lake.specs import POISON
from dagster_project.lake.storage import Storage
from dagster_project.serving.cache import Cache
from dagster_project.topics.batches import Kind
from dagster_project.topics.offsets import Offsets
from dagster_project.tracing.arrival import ingested, late_s, produced
from dagster_project.tracing.cached import Shelf
from dagster_project.tracing.gone import entries
from dagster_project.tracing.marts import effects
from dagster_project.tracing.messages import MOST, messages, published_key
from dagster_project.tracing.now import sentence
from dagster_project.tracing.question import AtPlace, ask
from dagster_project.tracing.refined import merged, quarantined
from dagster_project.tracing.story import UNREAD, Event, Journey, Step
from dagster_project.tracing.tables import PLACE, Row, Tables, key_of
from dagster_project.tracing.whereabouts import whereabouts
from dagster_project.tracing.witness import Witness

_NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)


def trace(
    what: str,
    *,
    catalog: Catalog,
    storage: Storage,
    kafka: str | None = None,
    cache: Cache | None = None,
    dataset: str | None = None,
    reveal: bool = False,
) -> Journey:
    """Find events, and tell what became of them.

    Args:
        what: `<topic>/<Kafka partition>/<offset>`, a merge key as `<column>=<value>,…`, or a correlation id.
        kafka: bootstrap servers; without them nothing is told of dead letters, nor of offsets that no table knows.
        cache: where marts are published to.
        dataset: look only there.
        reveal: tell headers also of a dataset with confidential columns.

    Raises:
        LakeError: nothing like this is known, or it is none of these; or the store cannot be read.
        ContractError: there is no such dataset.
    """
    witness, shelf = Witness(kafka), Shelf(cache)
    events: list[Event] = []
    more = 0
    for found, question in ask(what, catalog=catalog, dataset=dataset):
        for version in written(catalog, found.name, storage=storage):
            tables = Tables.find(version, storage=storage)
            rows, beyond = messages(tables, question)
            teller = _Teller(
                tables=tables, rows=rows, catalog=catalog, storage=storage, witness=witness, shelf=shelf, reveal=reveal
            )
            events += [teller.event(row) for row in rows]
            if not rows and isinstance(question, AtPlace):
                events.append(teller.nameless(question.partition, question.offset))
            more += beyond
    if not events:
        raise LakeError(
            f"no event {what!r} in the lake",
            expected="<topic>/<Kafka partition>/<offset>, a merge key or a correlation id of what was read",
            remedy="see `lakehouse lag` for what was not read yet; look only into one dataset with --dataset",
        )
    events.sort(key=_sent)
    return Journey(
        what=what, events=tuple(events[:MOST]), more=more + len(events[MOST:]), notes=(*witness.notes, *shelf.notes)
    )


def _sent(event: Event) -> tuple[dt.datetime, int, int]:
    at = next((step.at for step in event.steps if step.at is not None), _NEVER)
    return at, event.partition, event.offset


@dataclass(frozen=True, kw_only=True)
class _Teller:
    """Tells of the messages that were found in one dataset."""

    tables: Tables
    rows: Sequence[Row]
    catalog: Catalog
    storage: Storage
    witness: Witness
    shelf: Shelf
    reveal: bool

    def event(self, row: Row) -> Event:
        """The way of a message."""
        tables, dataset = self.tables, self.tables.dataset
        partition, offset = (row[name] for name in PLACE)
        found = whereabouts(tables, partition, offset, row, ask_log=self._log)
        way = merged(tables, found, row)
        since = {} if way.commit is None or not way.effective else {_home(row, found.winner): way.commit.version}
        steps = [
            produced(dataset, row, reveal=self.reveal),
            *ingested(tables, row),
            *self._letters(row),
            *quarantined(tables, found, row),
            *way.steps,
            *effects(dataset.name, since, catalog=self.catalog, storage=self.storage, shelf=self.shelf),
            *entries(tables.ledger, found.ledger),
        ]
        whole = all(row.get(name) is not None for name in dataset.merge_key)
        home = key_of(row)
        return Event(
            dataset=dataset.table,
            topic=dataset.topic.name,
            partition=partition,
            offset=offset,
            correlation_id=row["_correlation_id"],
            kind=row.get("_kind"),
            key=published_key(dataset, row) if whole else {},
            event_time=row.get(dataset.event_time),
            event_date=home.date,
            region=home.region,
            late_s=late_s(row),
            place=found.place,
            now=sentence(tables, found, row),
            steps=_in_order(steps),
        )

    def nameless(self, partition: int, offset: int) -> Event:
        """What is known of an offset that no table has a row for.

        Raises:
            LakeError: there is no such offset.
        """
        tables, dataset = self.tables, self.tables.dataset
        found = whereabouts(tables, partition, offset, None, ask_log=self._log)
        if found.place == UNREAD and (topic := self.witness.topic(dataset)) is not None:
            end = topic.end.get(partition)
            if end is None or offset >= end:
                bounds = ", ".join(f"{p}: {topic.first[p]} to {last - 1}" for p, last in topic.end.items() if last)
                raise LakeError(
                    f"{topic.name} has no message at Kafka partition {partition}, offset {offset}",
                    expected=f"by Kafka partition, an offset of {bounds or 'what was sent: nothing yet'}",
                    remedy="correct the Kafka partition and offset",
                )
        return Event(
            dataset=dataset.table,
            topic=dataset.topic.name,
            partition=partition,
            offset=offset,
            place=found.place,
            now=sentence(tables, found, None),
            steps=tuple(entries(tables.ledger, found.ledger)),
        )

    def _log(self, partition: int, offset: int) -> Mapping[Kind, Offsets]:
        cursor = self.tables.cursor
        return {} if cursor is None else self.witness.log(self.tables.dataset, cursor, partition, offset)

    def _letters(self, row: Row) -> Sequence[Step]:
        if row.get("_kind") != POISON:
            return ()
        look = partial(self._look, row)
        return self.witness.ask(look) or ()

    def _look(self, row: Row, servers: str) -> Sequence[Step]:
        from dagster_project.tracing.letters import letters

        return tuple(letters(self.tables, row, self.rows, bootstrap_servers=servers))


def _home(row: Row, winner: Row | None) -> Key:
    """The table partition of Silver that a message went into."""
    own = winner is not None and all(winner[name] == row[name] for name in PLACE)
    return key_of(winner if own and winner is not None else row)


def _in_order(steps: Sequence[Step]) -> tuple[Step, ...]:
    """What was done first comes first, but for the clock of who sent it; what is still to come, last."""
    first, *rest = steps
    return (first, *sorted(rest, key=lambda step: step.at or _NEVER))
