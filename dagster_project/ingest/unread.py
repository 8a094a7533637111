"""Kafka partitions of which the newest commit has not read everything, of a topic that several runs read.

One run reads all Kafka partitions alike. Of several runs one may be far behind, and what it has not read yet is not silent:
Silver's watermarks wait for it. So these runs say in their commits, as cursors, whose end they have not come to.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

_PREFIX = "unread/"


def unread(cursors: Mapping[str, int]) -> set[int]:
    """Kafka partitions that had more, by a table's cursors; none where one run reads all of them."""
    return {int(name.removeprefix(_PREFIX)) for name, value in cursors.items() if name.startswith(_PREFIX) and value}


def cursors_of(more: Collection[int], *, of: Collection[int], known: Mapping[str, int], shared: bool) -> dict[str, int]:
    """As named cursors of a Delta commit, where they have moved.

    Args:
        more: Kafka partitions with more to read, of those that the run reads.
        known: the table's cursors.
        shared: whether other runs read the topic, too. If not, only what such runs have left is put right.
    """
    moved = {f"{_PREFIX}{partition}": int(partition in more) for partition in of}
    return {name: value for name, value in moved.items() if known.get(name) != value and (shared or name in known)}
