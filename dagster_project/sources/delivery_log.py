"""The delivery log: which event of a stream went to which offset, one line of JSON for each event."""

from __future__ import annotations

from collections.abc import Iterable
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import NamedTuple

from dagster_project.errors import KafkaError
from dagster_project.sources.events import Event

_JSON = {False: b"false", True: b"true"}


class Delivery(NamedTuple):
    """An event, its place in the stream, and its place in the topic."""

    number: int
    partition: int
    offset: int
    event: Event


def oracle_path(home: Path, *, topic: str, topic_id: str, progress_group: str) -> Path:
    """Where the log of a stream is. A topic that was made anew has another id, and starts with empty logs."""
    return home / "oracle" / topic / topic_id / f"{progress_group}.ndjson"


class DeliveryLog:
    """Line n of the file is event n of the stream.

    Lines are written before the Kafka transaction that they tell of commits. Should it never commit, they are one
    transaction too many: `rewind` to the index that Kafka has committed takes them away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def rewind(self, count: int) -> None:
        """Keep the first `count` lines.

        Raises:
            KafkaError: the file has fewer, so it is not the log of what this topic holds.
        """
        with self.path.open("rb+") as file:
            for kept in range(count):
                if not file.readline().endswith(b"\n"):
                    raise KafkaError(
                        f"{self.path} tells of {kept} events, but {count} are in the topic",
                        expected="the delivery log of all events that were sent",
                        remedy="use the LAKEHOUSE_HOME that they were sent with, or make the topic anew",
                    )
            file.truncate(file.tell())

    def append(self, deliveries: Iterable[Delivery]) -> None:
        # Handed to the operating system, which a killed process cannot take back; a power cut is not provided for.
        with self.path.open("ab") as file:
            file.writelines(map(_line, deliveries))


def _line(delivery: Delivery) -> bytes:
    number, partition, offset, event = delivery
    key = b"null" if event.key is None else encode_basestring_ascii(event.key.decode()).encode()
    event_time = b"null" if event.event_time is None else b'"%b"' % event.event_time.encode()
    # The value as it was sent, so that no number changes its digits. What cannot be decoded, or is a delete, has none.
    value = b"null" if event.deletes or event.kind == "decode" else event.value
    verdict = b'"kind":"%b","late":%b,"trouble":"%b"' % (event.kind.encode(), _JSON[event.late], event.trouble.encode())
    return b'{"index":%d,"partition":%d,"offset":%d,%b,"key":%b,"event_time":%b,"value":%b}\n' % (
        number,
        partition,
        offset,
        verdict,
        key,
        event_time,
        value,
    )
