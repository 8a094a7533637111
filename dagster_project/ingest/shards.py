"""Which Kafka partitions one run reads: all of a topic's, or its share of them where several runs read it at once.

A share follows from its number and the number of shares alone, so Kafka partitions that a topic gains change nobody's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from dagster_project.errors import ConfigurationError
from dagster_project.ingest.cursor import Cursor
from dagster_project.topics.broker import Topic


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Every so many-eth Kafka partition.

    Attributes:
        number: from 0 on.
        of: how many shards there are.
    """

    number: int = 0
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            ConfigurationError: it is no shard.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and int(number) < int(of)):
            raise ConfigurationError(
                f"{text!r} is no shard of a topic",
                expected="a number and how many shards there are, such as 0/2 for the first of two",
                remedy="launch the run without it, which reads all Kafka partitions",
            )
        return cls(number=int(number), of=int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def whole(self) -> bool:
        """Whether it is all of the topic."""
        return self.of == 1

    def meets(self, other: Shard) -> bool:
        """Whether a Kafka partition may be of both: of another plan's shards, more than one may."""
        return (self.number - other.number) % math.gcd(self.of, other.of) == 0

    def own(self, offsets: Mapping[int, int]) -> dict[int, int]:
        """Of offsets by Kafka partition, those of this shard."""
        return {partition: offset for partition, offset in offsets.items() if partition % self.of == self.number}

    def cursor(self, cursor: Cursor) -> Cursor:
        """This shard's part of a cursor."""
        return replace(cursor, start=self.own(cursor.start), next=self.own(cursor.next))

    def topic(self, topic: Topic) -> Topic:
        """This shard's part of a topic."""
        return replace(topic, first=self.own(topic.first), end=self.own(topic.end))


WHOLE = Shard()


def shards(count: int) -> list[Shard]:
    """All of them, which share a topic's Kafka partitions among them."""
    return [Shard(number=number, of=count) for number in range(count)]
