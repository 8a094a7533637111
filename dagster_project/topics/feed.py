"""The log of a topic as its leaders hand it out: record batches, unopened, from given offsets on.

Its import takes a third of a second, for the client library's sake: leave it to where a log is read.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from confluent_kafka import KafkaError as BrokerError
from kafka import errors
from kafka.net import manager
from kafka.net.compat import KafkaNetClient
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.protocol.consumer import FetchRequest

from dagster_project.errors import KafkaError, OffsetLossError
from dagster_project.topics import security
from dagster_project.topics.batches import LARGEST_BYTES
from dagster_project.topics.client import TIMEOUT_S, admin_client, describe

_TIMEOUT_MS = int(TIMEOUT_S * 1000)
_READ_COMMITTED = 1
# The newest version of Fetch that names topics, not their ids, and tells of aborted transactions.
_VERSION = 11
# The least share of a Kafka partition in an answer: of less, headers would be much of it.
_SHARE_BYTES = 1 << 20
# That a broker waits for as many bytes as were asked for.
_WAIT_S = 0.1
# Elections take as long as they take; asking more often does not help.
_AGAIN_S = 0.2


# What is taken from a socket at a time. The library takes 4 KiB, which costs more than all else that is done to a portion.
_READ_BYTES = 1 << 20


class _Transport(KafkaTCPTransport):
    """Takes what has arrived in few calls."""

    def _sock_recv(self) -> tuple[bytes, errors.KafkaConnectionError | None]:
        assert self._sock is not None
        try:
            content = self._sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b"", None
        except OSError as error:
            return b"", errors.KafkaConnectionError(error)
        return content, None if content else errors.KafkaConnectionError("the broker has closed the connection")


class _SecureTransport(KafkaSSLTransport):
    """The same by TLS: of what was decrypted and left there nobody would be told, so all of it is taken."""

    def _sock_recv(self) -> tuple[bytes, errors.KafkaConnectionError | None]:
        assert self._sock is not None
        parts: list[bytes] = []
        problem: object = "the broker has closed the connection"
        try:
            while content := self._sock.recv(_READ_BYTES):
                parts.append(content)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError):
            return b"".join(parts), None
        except OSError as error:
            problem = error
        return b"".join(parts), errors.KafkaConnectionError(problem)


manager.KafkaTCPTransport = _Transport
manager.KafkaSSLTransport = _SecureTransport


@dataclass(frozen=True, kw_only=True)
class Portion:
    """What a leader has of one Kafka partition, from the offset that was asked for on.

    Attributes:
        content: record batches. The first may begin before that offset; the last may be cut short.
        aborted: producer id and first offset of the aborted transactions among them.
        end: the last stable offset, which readers of committed messages do not go beyond.
    """

    partition: int
    content: bytes
    aborted: tuple[tuple[int, int], ...]
    end: int


class Feed:
    """Asks the leaders of one topic's Kafka partitions, and finds the new ones after an election. Close it in the end.

    Attributes:
        problem: why the last round has brought less than was asked for, or nothing.
    """

    def __init__(self, topic: str, *, bootstrap_servers: str, most_bytes: int) -> None:
        """Args: most_bytes: of the answer of one leader, roughly."""
        self._topic = topic
        self._servers = bootstrap_servers
        self._most_bytes = most_bytes
        self._client: KafkaNetClient | None = None
        self._leaders: dict[int, int] = {}
        self.problem = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._forget()

    def read(self, following: Mapping[int, int], *, fewest_bytes: int = 1) -> Iterator[Portion]:
        """Ask each leader once; what cannot be had now, such as during an election, is left out and told in `problem`.

        Args:
            following: by Kafka partition, from which offset on.
            fewest_bytes: that a leader waits for, though not for long.

        Raises:
            OffsetLossError: the log does not go back that far, or not on that far.
            KafkaError: the cluster does not answer, or refuses to.
        """
        if self.problem:
            time.sleep(_AGAIN_S)
            self._forget()
        self.problem = ""
        futures: list[Any] = []
        for leader, own in self._by_leader(following).items():
            with self._telling():
                futures.append(self._ask(leader, self._request(own, fewest_bytes)))
        for future in futures:
            with self._telling():
                yield from self._portions(self._answer(future), following)

    @contextmanager
    def _telling(self) -> Generator[None]:
        """One leader that does not answer is a problem, and no reason not to hear the others."""
        try:
            yield
        except errors.KafkaError as error:
            if isinstance(error, errors.BrokerResponseError):
                self._refuse(error.errno)
            self.problem = f"{type(error).__name__}: {error}"

    def _refuse(self, code: int) -> None:
        """A right that is missing is given by a person, so nobody waits for it."""
        what = f"read topic {self._topic!r}"
        if (refused := security.refusal(BrokerError(code), servers=self._servers, what=what)) is not None:
            raise refused

    def _ask(self, leader: int, request: FetchRequest) -> Any:
        if self._client is None:
            # A batch that is larger than what was asked for comes nevertheless, whole.
            settings = {"bootstrap_servers": self._servers, "receive_message_max_bytes": LARGEST_BYTES}
            self._client = KafkaNetClient(**settings, **security.kafka_python())
            self._client.check_version(timeout_ms=_TIMEOUT_MS)
        self._client.await_ready(leader, timeout_ms=_TIMEOUT_MS)
        return self._client.send(leader, request)

    def _answer(self, future: Any) -> Any:
        assert self._client is not None
        self._client.poll(timeout_ms=_TIMEOUT_MS, future=future)
        if future.failed():
            raise future.exception
        if not future.succeeded():
            raise errors.KafkaTimeoutError(f"no answer within {TIMEOUT_S:.0f} s")
        return future.value

    def _forget(self) -> None:
        """Begin anew: leaders may have changed, and a client that has failed waits longer each time before it tries again."""
        self._leaders = {}
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _by_leader(self, following: Mapping[int, int]) -> dict[int, dict[int, int]]:
        if not self._leaders.keys() >= following.keys():
            found = describe(admin_client(self._servers), [self._topic], servers=self._servers).get(self._topic)
            # While there is no leader, or no such topic, its id is negative.
            self._leaders = {} if found is None else {part.id: part.leader.id for part in found.partitions}
        asked: dict[int, dict[int, int]] = {}
        for partition, offset in following.items():
            if (leader := self._leaders.get(partition, -1)) < 0:
                self.problem = f"no leader of Kafka partition {partition}"
                continue
            asked.setdefault(leader, {})[partition] = offset
        return asked

    def _request(self, offsets: Mapping[int, int], fewest_bytes: int) -> FetchRequest:
        kind = FetchRequest.FetchTopic
        # Shares alike, so that all Kafka partitions advance together.
        share = max(self._most_bytes // len(offsets), _SHARE_BYTES)
        partitions = [
            kind.FetchPartition(
                partition=partition,
                current_leader_epoch=-1,
                fetch_offset=offset,
                log_start_offset=-1,
                partition_max_bytes=share,
            )
            for partition, offset in offsets.items()
        ]
        return FetchRequest(
            replica_id=-1,
            max_wait_ms=int(_WAIT_S * 1000),
            min_bytes=fewest_bytes,
            max_bytes=self._most_bytes,
            isolation_level=_READ_COMMITTED,
            session_id=0,
            session_epoch=-1,
            topics=[kind(topic=self._topic, partitions=partitions)],
            forgotten_topics_data=[],
            rack_id="",
            max_version=_VERSION,
        )

    def _portions(self, answer: Any, following: Mapping[int, int]) -> Iterator[Portion]:
        for part in (part for response in answer.responses for part in response.partitions):
            partition = int(part.partition_index)
            if part.error_code:
                self._refused(partition, following[partition], int(part.error_code))
                continue
            yield Portion(
                partition=partition,
                content=bytes(part.records or b""),
                aborted=tuple((item.producer_id, item.first_offset) for item in part.aborted_transactions or ()),
                end=int(part.last_stable_offset),
            )

    def _refused(self, partition: int, offset: int, code: int) -> None:
        """Say what an error code means; those of a cluster that is about to recover are told in `problem`."""
        error = errors.for_code(code)
        if error is errors.OffsetOutOfRangeError:
            raise OffsetLossError(
                f"topic {self._topic!r}, Kafka partition {partition}: the broker has no offset {offset}",
                expected="every offset to be there until it was read",
                remedy="nothing was skipped; the next run says which offsets are gone, and so does `lakehouse loss list`",
            )
        self._refuse(code)
        self.problem = f"Kafka partition {partition}: {error.__name__}"
        if not (error.retriable or error.invalid_metadata):
            raise KafkaError(
                f"reading topic {self._topic!r} failed: {self.problem}: {error.description}",
                remedy="see `lakehouse status`; what was committed stays, the next run reads on from there",
            )
