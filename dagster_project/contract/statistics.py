"""From custom quality items of a contract to statistical rules."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from open_data_contract_standard.model import DataQuality

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Steps
from dagster_project.contract.quality import Kind, Statistic

# By kind, its options with their defaults; `...` where the contract must say.
_OPTIONS: Mapping[Kind, Mapping[str, Any]] = {
    "volume": {"weeks": 4, "atLeast": None, "atMost": None},
    "nullDrift": {"column": ..., "days": 7, "atMost": ...},
    "references": {"column": ..., "dataset": ..., "key": ..., "atMost": 0.0},
}
_TEXTS, _COUNTS, _SHARES = ("column", "dataset", "key"), ("weeks", "days"), ("atLeast", "atMost")


def compile_statistic(
    compiler: Compiler, path: Steps, item: DataQuality, known: Collection[str]
) -> Iterator[Statistic]:
    """The statistical rule of an item whose implementation is a mapping: `{volume: {weeks: 4, atLeast: 0.5}}`."""
    given: dict[str, Any] = dict(item.implementation) if isinstance(item.implementation, dict) else {}
    where = (*path, "implementation")
    kind: Kind | None = next(
        (kind for kind in _OPTIONS if list(given) == [kind] and isinstance(given[kind], dict)), None
    )
    if kind is None:
        forms = ", ".join(f"{{{kind}: {{{', '.join(options)}}}}}" for kind, options in _OPTIONS.items())
        compiler.problem(where, f"{given!r}", f"an SQL predicate, or one of {forms}")
        return
    options: dict[str, Any] = {**_OPTIONS[kind], **given[kind]}
    for name, value in options.items():
        if problem := _problem(kind, name, value, known):
            compiler.problem((*where, kind, name), *problem)
            return
    if kind == "volume" and options["atLeast"] is None and options["atMost"] is None:
        compiler.problem((*where, kind), "no bound", "atLeast: <share>, atMost: <share>, or both, such as 0.5 and 2")
        return
    yield Statistic(
        id=item.id or "",
        kind=kind,
        column=options.get("column", ""),
        at_least=options.get("atLeast"),
        at_most=options["atMost"],
        back=options.get("weeks", options.get("days", 0)),
        dataset=options.get("dataset", ""),
        key=options.get("key", ""),
        severity="warning" if item.severity == "warning" else "error",
    )


def _problem(kind: Kind, name: str, value: object, known: Collection[str]) -> tuple[str, str] | None:
    """What is wrong with an option, and what to write instead."""
    options = _OPTIONS[kind]
    if name not in options:
        near = difflib.get_close_matches(name, options, n=1)
        return repr(name), repr(near[0]) if near else "one of " + ", ".join(options)
    if value is ...:
        return f"{kind} without {name}", f"{name}: …"
    if value is None:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in _TEXTS and (not isinstance(value, str) or (name == "column" and value not in known)):
        return repr(value), "the name of a property" if name == "column" else f"the name of a {name}"
    if name in _COUNTS and not (isinstance(value, int) and number and value >= 1):
        return repr(value), "a whole number of at least 1"
    if name in _SHARES and not (isinstance(value, (int, float)) and number and value >= 0):
        return repr(value), "a share, such as 0.05; of a volume 1 is as many rows as usual"
    return None
