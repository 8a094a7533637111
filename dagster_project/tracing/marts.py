"""Which table partitions of which marts an event fell into, and by which commits they have had it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dagster_project.contract.model import Catalog, Mart, MartInput
from dagster_project.lake import specs
from dagster_project.lake.history import Arrival
from dagster_project.lake.keys import Key
from dagster_project.lake.serving import serving
from dagster_project.lake.storage import Storage
from dagster_project.refine.cursors import HELD, cursor_name
from dagster_project.refine.inputs import spec_of
from dagster_project.refine.reach import WHOLE, readers
from dagster_project.tracing.cached import Shelf
from dagster_project.tracing.commits import step, time_of
from dagster_project.tracing.story import Step
from dagster_project.tracing.tables import Layer

# By table partition, the version of its table from which on an event is in it.
Since = Mapping[Key, int]


def effects(name: str, since: Since, *, catalog: Catalog, storage: Storage, shelf: Shelf) -> Iterator[Step]:
    """What came of an event in the marts that a dataset goes into, also through other marts.

    Args:
        name: of the dataset; `since` is of its Silver.
    """
    known: dict[str, Since] = {f"silver/{name}": since}
    for mart in catalog.marts_of(name):
        gold = Layer(specs.gold(mart), storage=storage)
        own: dict[Key, int] = {}
        for item in mart.inputs:
            source = _source(item, catalog, storage)
            for key, version in _due(mart, item, known.get(item.table, {})).items():
                cursor = cursor_name(source, key)
                arrival = None if gold.table is None else gold.history.arrival(cursor, version)
                held = gold.cursors.get(f"{HELD}{cursor}", -1) >= version
                yield _step(gold, key, arrival, held=held)
                if gold.table is not None and arrival is not None and arrival.commit is not None:
                    own[key] = min(arrival.commit.version, own.get(key, arrival.commit.version))
                    if (published := shelf.publishing(mart, gold.table, arrival.commit.version)) is not None:
                        yield published
        known[f"gold/{mart.name}"] = own


def _due(mart: Mart, item: MartInput, since: Since) -> Since:
    """By table partition of a mart, the version of an input that it has to be computed from."""
    due: dict[Key, int] = {}
    for part, version in since.items():
        for key in readers(mart, item, part):
            due[key] = min(version, due.get(key, version))
    return due


def _source(item: MartInput, catalog: Catalog, storage: Storage) -> str:
    """The table that is read, as cursors call it."""
    serve = {item.name: serving(catalog, item.name, storage=storage)} if item.kind == "dataset" else {}
    spec = spec_of(item.table, serve, catalog)
    return f"{spec.layer}/{spec.name}"


def _step(gold: Layer, key: Key, arrival: Arrival | None, *, held: bool) -> Step:
    part = "" if key == WHOLE else f", table partition {key}"
    facts: dict[str, object] = {"table_partition": str(key)}
    if arrival is None:
        text = "held back, as it would break a rule" if held else "not computed with it yet"
        return step("gold", gold.name, text + part, commit=None, facts={**facts, "held": held})
    if (commit := arrival.commit) is None:
        return step(
            "gold", gold.name, "computed with it, longer ago than the log tells" + part, commit=None, facts=facts
        )
    again = arrival.before is not None
    # A dimension says from which day on it has changed.
    mark = "changed/" if key == WHOLE else cursor_name("changed", key)
    changed = any(name.startswith(mark) for name in commit.cursors)
    text = ("restated" if again else "computed for the first time") if changed else "computed, and no row changed"
    facts |= {"changed": changed, "restated": changed and again}
    newest = max((version for name, version in gold.cursors.items() if name.startswith(mark)), default=-1)
    if newest > commit.version:
        last = gold.history.commit(newest)
        text += f"; changed since, last by version {newest}" + ("" if last is None else f" at {time_of(last):%H:%M:%S}")
        facts["newest_change"] = newest
    return step("gold", gold.name, text + part, commit=commit, facts=facts)
