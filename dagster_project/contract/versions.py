"""Two major versions of one dataset: what must be the same in both, and which column of one is which of the other."""

from __future__ import annotations

from collections.abc import Iterator

from dagster_project.contract.document import Problem
from dagster_project.contract.model import Dataset


def release_problems(old: Dataset, new: Dataset) -> Iterator[Problem]:
    """What forbids a newer major version to be built beside the older one.

    Both are made from the same Bronze rows in the same table partitions, and are compared by merge key.
    """
    fixed = (
        ("topic", old.topic.name, new.topic.name),
        ("format", (old.topic.format, old.topic.wire_format), (new.topic.format, new.topic.wire_format)),
        ("merge key", old.merge_key, new.merge_key),
        ("eventTime", old.event_time, new.event_time),
        ("partitionTime", old.partition_time, new.partition_time),
        ("startDate", old.start_date, new.start_date),
        ("writeMode", old.write_mode, new.write_mode),
        ("region column", old.region, new.region),
        ("regions", old.regions, new.regions),
        *((f"type of {name}", _type(old, name), _type(new, name)) for name in sorted(_routing(old) | _routing(new))),
    )
    for what, before, after in fixed:
        if before != after:
            yield Problem(
                path=("schema", 0),
                found=f"{what} {_words(after)}, and {_words(before)} in version {old.version}",
                expected="the same in both versions: they share Bronze and its table partitions",
            )
    if new.topic.wire_format == "confluent":
        yield Problem(
            path=("version",),
            found=f"a second major version of messages that name schemas, beside {old.version}",
            expected="plain JSON; what names schemas evolves in the registry, within one major version",
        )
    names = {column.name for column in old.columns}
    sources: set[str] = set()
    for index, column in enumerate(new.columns):
        before = column.renamed_from
        taken = before in sources or column.name in names
        if before and (taken or before not in names or before in _routing(old)):
            yield Problem(
                path=("schema", 0, "properties", index),
                found=f"{column.name!r} is renamed from {before!r}",
                expected=f"a column of version {old.version}, once, under a new name, and none that rows are keyed or placed by",
            )
        sources.add(before)


def counterparts(one: Dataset, other: Dataset) -> dict[str, str]:
    """By column of one version, the column of the other that is the same, whatever its name; those that have one."""
    names = {column.name for column in other.columns}
    renamed = {column.renamed_from: column.name for column in other.columns if column.renamed_from}
    same = {column.name: column.name for column in one.columns if column.name in names}
    back = {column.name: renamed[column.name] for column in one.columns if column.name in renamed}
    forth = {column.name: column.renamed_from for column in one.columns if column.renamed_from in names}
    return same | back | forth


def _routing(dataset: Dataset) -> set[str]:
    return set(dataset.routing)


def _type(dataset: Dataset, name: str) -> object:
    return next((column.type for column in dataset.columns if column.name == name), None)


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
