"""Comparing two versions of a contract.

The rule: additive is what leaves every message valid that was valid before, every query that ran before running with the
same meaning, and every table where it is. Whatever cannot be shown to do so is breaking.
"""

from __future__ import annotations

from collections.abc import Iterator

from dagster_project.contract.change import Change, additive, breaking
from dagster_project.contract.columns_diff import compare_columns
from dagster_project.contract.model import Dataset, Mart, MartInput, SqlRule, Topic, major_of
from dagster_project.contract.quality import Statistic, TableRule
from dagster_project.errors import ContractError

_MEANING = "the same rows would get another meaning, or another place"
_OPERATION = "no row is touched by it"


def compare(old: Dataset | Mart, new: Dataset | Mart) -> tuple[Change, ...]:
    """All changes from one version to another, breaking ones first.

    Raises:
        ContractError: they are not two versions of one thing.
    """
    if type(old) is not type(new) or old.name != new.name:
        raise ContractError(
            f"{old.source} is {_kind(old)} {old.name!r}, {new.source} is {_kind(new)} {new.name!r}",
            expected="two versions of the same dataset or mart",
            remedy="name two files of one contract",
        )
    changes = [*_compare_words(old, new), *compare_columns(old.columns, new.columns)]
    changes += _fixed("merge key", old.merge_key, new.merge_key)
    if isinstance(old, Dataset) and isinstance(new, Dataset):
        changes += _compare_datasets(old, new)
    elif isinstance(old, Mart) and isinstance(new, Mart):
        changes += _compare_marts(old, new)
    return tuple(sorted(changes, key=lambda change: change.verdict, reverse=True))


def is_major(old: str, new: str) -> bool:
    """Whether a version opens a new major one, in which everything may change."""
    return major_of(new) > major_of(old)


def _kind(contract: Dataset | Mart) -> str:
    return "the dataset" if isinstance(contract, Dataset) else "the mart"


def _compare_words(old: Dataset | Mart, new: Dataset | Mart) -> Iterator[Change]:
    for name in ("description", "owners", "domain"):
        if getattr(old, name) != getattr(new, name):
            yield additive(name, "changed", _OPERATION)


def _compare_datasets(old: Dataset, new: Dataset) -> Iterator[Change]:
    for path, before, after in (
        ("event time", old.event_time, new.event_time),
        ("partition time", old.partition_time, new.partition_time),
        ("region", old.region, new.region),
        ("write mode", old.write_mode, new.write_mode),
    ):
        yield from _fixed(path, before, after)
    if new.start_date != old.start_date:
        what = f"{old.start_date} → {new.start_date}"
        if new.start_date < old.start_date:
            yield additive("start date", what, "more days are allowed")
        else:
            yield breaking("start date", what, "events of the days before it would be poison")
    for path, before, after in (
        ("allowed lateness", old.allowed_lateness, new.allowed_lateness),
        ("idle after", old.idle_after, new.idle_after),
        ("max bad rate", old.max_bad_rate, new.max_bad_rate),
        ("breaker", old.breaker, new.breaker),
        ("service levels", old.slo, new.slo),
        ("hot keys", old.hot_keys, new.hot_keys),
        ("priority", old.priority, new.priority),
        ("shards", old.shards, new.shards),
    ):
        if before != after:
            yield additive(path, "changed", _OPERATION)
    yield from _compare_horizons(old, new)
    yield from _compare_topics(old.topic, new.topic)
    yield from _compare_rules(_rules(old), _rules(new))


def _compare_horizons(old: Dataset, new: Dataset) -> Iterator[Change]:
    path, before, after = "lateness horizon", old.quarantined_from, new.quarantined_from
    if after is not None and (before is None or after < before):
        yield breaking(path, f"{before or 'none'} → {after}", "rows that were good may be quarantined")
    elif before is not None and before != after:
        yield additive(path, f"{before} → {after or 'none'}", "fewer rows are quarantined by it")
    elif old.lateness_horizon != new.lateness_horizon:
        yield additive(path, "changed", _OPERATION)


def _compare_marts(old: Mart, new: Mart) -> Iterator[Change]:
    yield from _fixed("partitioned by", old.partitioned_by, new.partitioned_by)
    yield from _fixed("validity", old.validity, new.validity)
    if old.inputs != new.inputs:
        before, after = (", ".join(map(_spelled, mart.inputs)) or "none" for mart in (old, new))
        yield additive("inputs", f"{before} → {after}", "its columns stay as they are")
    if old.conformed != new.conformed:
        yield additive("conformed to", "changed", _OPERATION)
    if old.window != new.window:
        yield additive("window", f"{old.window} → {new.window}", "its columns stay as they are")
    if old.sql != new.sql:
        yield additive("sql", "changed", "its columns stay as they are; their values are for its owner to answer for")
    if old.freshness != new.freshness:
        yield additive("service levels", "changed", _OPERATION)
    if old.consistency != new.consistency:
        yield additive("consistency", f"{old.consistency} → {new.consistency}", _OPERATION)
    if old.serve != new.serve:
        yield additive("serve", "changed", _OPERATION)
    if old.append_only and not new.append_only:
        yield breaking("append-only", "no longer", "rows that were published may change")
    elif new.append_only and not old.append_only:
        yield additive("append-only", "from now on", "its columns stay as they are")
    yield from _compare_rules(old.rules, new.rules)


def _spelled(item: MartInput) -> str:
    beside = (("before", item.before_days), ("after", item.after_days))
    days = [f"{count} days {where}" for where, count in beside if count]
    return item.name + (f" ({', '.join(days)})" if days else "")


def _fixed(path: str, old: str | tuple[str, ...], new: str | tuple[str, ...]) -> Iterator[Change]:
    if old != new:
        before, after = (", ".join([value] if isinstance(value, str) else value) for value in (old, new))
        yield breaking(path, f"{before} → {after}", _MEANING)


def _compare_topics(old: Topic, new: Topic) -> Iterator[Change]:
    yield from _fixed("topic", old.name, new.name)
    yield from _fixed("cleanup policy", old.cleanup_policy, new.cleanup_policy)
    yield from _fixed("format", old.format, new.format)
    yield from _fixed("wire format", old.wire_format, new.wire_format)
    if new.partitions != old.partitions:
        what = f"{old.partitions} → {new.partitions}"
        if new.partitions > old.partitions:
            yield additive("Kafka partitions", what, "new ones are read from their start")
        else:
            yield breaking("Kafka partitions", what, "Kafka cannot take partitions away")
    for path, before, after in (
        ("replicas", old.replication_factor, new.replication_factor),
        ("in-sync replicas", old.min_insync_replicas, new.min_insync_replicas),
        ("topic retention", old.retention, new.retention),
        ("largest message", old.max_message_bytes, new.max_message_bytes),
    ):
        if before != after:
            yield additive(path, f"{before} → {after}", _OPERATION)


def _rules(dataset: Dataset) -> tuple[SqlRule | TableRule | Statistic, ...]:
    return (*dataset.rules, *dataset.table_rules, *dataset.statistics)


def _compare_rules(
    old: tuple[SqlRule | TableRule | Statistic, ...], new: tuple[SqlRule | TableRule | Statistic, ...]
) -> Iterator[Change]:
    before, after = ({rule.id: rule for rule in rules} for rules in (old, new))
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        path = f"rule {name}"
        if was == now:
            continue
        if now is None or now.severity == "warning":
            yield additive(path, "removed" if now is None else "only warns", "nothing is held back by it")
            continue
        rows = isinstance(now, SqlRule)
        why = "rows that were good may be quarantined" if rows else "table partitions that were good may be held back"
        if was is None or was.severity == "warning":
            yield breaking(path, "added" if was is None else "quarantines" if rows else "holds back", why)
        else:
            yield breaking(path, "another predicate" if rows else "another measure", why)
