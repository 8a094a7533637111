"""What the gate holds back, as cursors in Silver's log: committed with Silver, so that every reader knows it at no cost.

A scope is a table partition that breaks a table rule, or a whole region, `Key(None, region)`, whose breaker is open. Rows
of a scope that is held are not read; Silver's cursor of their table partition stays, so they wait in Bronze.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.refine.cursors import cursor_keys, cursor_name

# Delta's cursors are signed numbers of 64 bits.
_BYTES = 7


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A scope that is held back.

    Attributes:
        version: of Silver, in which it was judged last; its commit says why.
        since_ms, retry_ms: when it began, and when it is to be judged anew, since the epoch.
        judged: the last Bronze batch that was judged.
        rules: fingerprint of the rules that it was judged by.
    """

    scope: Key
    version: int
    since_ms: int
    retry_ms: int
    judged: int
    rules: int

    def is_due(self, *, rules: int, newest: int) -> bool:
        """Whether it is to be judged anew: the contract was changed, or it is time and a verdict may be another one.

        Args:
            newest: the last Bronze batch that waits in the scope.
        """
        # What a table partition breaks may be cured by another table; a region's bad rate only by new rows.
        may_change = self.scope.date is not None or newest > self.judged
        return self.rules != rules or (may_change and time.time() * 1000 >= self.retry_ms)

    def cursors(self) -> dict[str, int]:
        values = {
            "held": self.version,
            "since": self.since_ms,
            "retry": self.retry_ms,
            "judged": self.judged,
            "rules": self.rules,
        }
        return {cursor_name(prefix, self.scope): value for prefix, value in values.items()}


def holds(cursors: Mapping[str, int]) -> dict[Key, Hold]:
    """All holds that are in force."""
    held, freed, since, retry, judged, rules = (
        cursor_keys(cursors, prefix) for prefix in ("held", "freed", "since", "retry", "judged", "rules")
    )
    return {
        scope: Hold(
            scope=scope,
            version=version,
            since_ms=since[scope],
            retry_ms=retry[scope],
            judged=judged[scope],
            rules=rules[scope],
        )
        for scope, version in held.items()
        if version > freed.get(scope, -1)
    }


def freed(scopes: Iterable[Key], *, version: int, judged: Mapping[Key, int]) -> dict[str, int]:
    """Cursors that end holds; `judged` are the batches up to which their rows are published whatever their bad rate."""
    ended = {cursor_name("freed", scope): version for scope in scopes}
    return ended | {cursor_name("judged", scope): batch for scope, batch in judged.items()}


def region_of(key: Key) -> Key:
    """The scope of a key's whole region."""
    return Key(None, key.region)


def resting(dataset: Dataset, cursors: Mapping[str, int], files: pl.DataFrame) -> set[Key]:
    """Scopes that are held and not to be judged now.

    Args:
        files: of Bronze, that Silver has not read, as `pending_files` gives them.
    """
    held = holds(cursors)
    if not held:
        return set()
    newest: dict[Key, int] = {}
    for *key, batch in files.select(*specs.KEYS, "max._batch_id").iter_rows():
        for scope in {Key(*key), region_of(Key(*key))}:
            newest[scope] = max(batch, newest.get(scope, -1))
    rules = fingerprint(dataset)
    return {scope for scope, hold in held.items() if not hold.is_due(rules=rules, newest=newest.get(scope, -1))}


def is_in(key: Key, scopes: Iterable[Key]) -> bool:
    """Whether a table partition is one of the scopes, or in a region that is; deletes are in none."""
    return key.region is not None and not {key, region_of(key)}.isdisjoint(scopes)


def fingerprint(dataset: Dataset) -> int:
    """A number that changes with the rules."""
    rules = (dataset.columns, dataset.rules, dataset.table_rules, dataset.statistics, dataset.breaker)
    return int.from_bytes(hashlib.sha256(repr(rules).encode()).digest()[:_BYTES])
