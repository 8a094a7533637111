"""What a mart reads, and the table partitions that follow from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Document, Steps
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Dataset, Mart, MartInput

_BASE: Steps = ("schema", 0, "customProperties")
_DAYS = ("trailingDays", "leadingDays")
# Each day more is read again for every day that is computed; a year is more than any sliding sum asks for.
_MOST_DAYS = 366


@dataclass(frozen=True, kw_only=True)
class Found:
    """The inputs, and the regions and days of the mart's table partitions, as of `Mart`."""

    inputs: tuple[MartInput, ...]
    regions: tuple[str, ...] = ()
    start_date: dt.date | None = None
    days_ahead: int = 0


def names_of(document: Document) -> list[str]:
    """Names of inputs, as far as they can be read; whether they are right is for `compile_inputs`."""
    table = (document.model.schema_ or [])[0]
    found = next((item.value for item in table.customProperties or () if item.property == "inputs"), None)
    entries = found if isinstance(found, list) else []
    return [str(entry.get("name") if isinstance(entry, dict) else entry) for entry in entries]


def compile_inputs(
    compiler: Compiler,
    options: Mapping[str, Any],
    partitioned_by: tuple[str, ...],
    *,
    datasets: Mapping[str, Dataset],
    marts: Mapping[str, Mart],
) -> Found:
    """The inputs of a mart; what is wrong with them goes to the compiler."""
    entries = options.get("inputs")
    expected = f"a list of datasets that have a contract ({', '.join(datasets) or 'none yet'})"
    if marts:
        expected += f", or of other marts ({', '.join(marts)})"
    if not isinstance(entries, list) or (not entries and partitioned_by):
        compiler.problem(_BASE, f"inputs {entries!r}", expected)
        return Found(inputs=())
    names = [entry.get("name") if isinstance(entry, dict) else entry for entry in entries]
    if not all(isinstance(name, str) and (name in datasets or name in marts) for name in names):
        compiler.problem(_BASE, f"inputs {entries!r}", expected)
        return Found(inputs=())
    if len(set(names)) < len(names):
        compiler.problem(_BASE, f"inputs {entries!r}", "each input once")
    inputs = tuple(
        _entry(compiler, entry, kind="dataset" if name in datasets else "mart")
        for name, entry in zip(names, entries, strict=True)
    )
    if not partitioned_by:
        _refuse_days(compiler, inputs, "partitionedBy: [], and reads its inputs whole")
        return Found(inputs=inputs)
    dims = [item for item in inputs if item.kind == "mart" and not marts[item.name].partitioned_by]
    _refuse_days(compiler, dims, "no days beside its own: it is read whole")
    dated = [(item, datasets[item.name] if item.kind == "dataset" else marts[item.name]) for item in inputs]
    dated = [(item, source) for item, source in dated if item not in dims]
    starts = [
        source.start_date - dt.timedelta(days=item.after_days)
        for item, source in dated
        if source.start_date is not None
    ]
    if not starts:
        compiler.problem(
            _BASE,
            f"inputs {names!r} without table partitions",
            f"a dataset or a mart by {DATE_COLUMN} among them, or partitionedBy: []",
        )
        return Found(inputs=inputs)
    regional = {source.regions for _, source in dated if source.regions}
    if REGION_COLUMN in partitioned_by and len(regional) != 1:
        # A region of one input alone would be in none of the others.
        compiler.problem(
            _BASE, f"inputs {names!r} of different regions", "inputs with one list of regions, or [event_date]"
        )
    ahead = [item.before_days + (source.days_ahead if isinstance(source, Mart) else 0) for item, source in dated]
    return Found(
        inputs=inputs,
        regions=next(iter(regional), ()) if REGION_COLUMN in partitioned_by else (),
        start_date=min(starts),
        days_ahead=max(ahead),
    )


def _entry(compiler: Compiler, entry: Any, *, kind: Any) -> MartInput:
    if not isinstance(entry, dict):
        return MartInput(name=entry, kind=kind)
    days = dict.fromkeys(_DAYS, 0)
    for name, value in entry.items():
        if name == "name":
            continue
        if name not in days:
            compiler.problem(_BASE, f"{name} of input {entry['name']!r}", "name, trailingDays and leadingDays only")
        elif not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST_DAYS:
            compiler.problem(_BASE, f"{name} {value!r} of input {entry['name']!r}", f"whole days, 0 to {_MOST_DAYS}")
        else:
            days[name] = value
    return MartInput(name=entry["name"], kind=kind, before_days=days["trailingDays"], after_days=days["leadingDays"])


def _refuse_days(compiler: Compiler, inputs: Sequence[MartInput], expected: str) -> None:
    for name in _with_days(inputs):
        compiler.problem(_BASE, f"days beside its own of input {name!r}", expected)


def _with_days(inputs: Sequence[MartInput]) -> Iterator[str]:
    return (item.name for item in inputs if item.before_days or item.after_days)
