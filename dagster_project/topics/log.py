"""A topic's log as runs of offsets by kind, read from the headers of its record batches: a million events in a tenth of a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from dagster_project.errors import KafkaError
from dagster_project.topics.batches import Kind, runs
from dagster_project.topics.broker import Broker
from dagster_project.topics.client import TIMEOUT_S, admin_client, describe
from dagster_project.topics.log_request import ANSWER_BYTES, fetch_request
from dagster_project.topics.log_runs import LogRuns
from dagster_project.topics.offsets import Offsets
from dagster_project.topics.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from kafka.net.compat import KafkaNetClient

_ELECTION_S = 0.2


def read_log(
    topic: str,
    *,
    start: Mapping[int, int],
    end: Mapping[int, int],
    bootstrap_servers: str,
) -> dict[Kind, Offsets]:
    """Classify the offsets from `start` to before `end`, by Kafka partition, where the brokers still have them.

    Args:
        end: at most the last stable offset.

    Raises:
        KafkaError: the cluster does not answer for PATIENCE_SECONDS, or not with what it should.
    """
    # Imported here: it takes a third of a second, and few of the processes that could read a log do.
    from kafka.errors import KafkaError as ClientError
    from kafka.net.compat import KafkaNetClient

    following = {partition: offset for partition, offset in start.items() if offset < end.get(partition, offset)}
    left = _left(following, end)
    found = LogRuns()
    silent_since = time.monotonic()
    while following:
        problem = ""
        try:
            leaders = _leaders(topic, bootstrap_servers)
            settings = {"bootstrap_servers": bootstrap_servers, "receive_message_max_bytes": 2 * ANSWER_BYTES}
            with closing(KafkaNetClient(**settings)) as client:
                client.check_version(timeout_ms=int(TIMEOUT_S * 1000))
                while following and not problem:
                    problem = _round(client, topic, leaders=leaders, following=following, end=end, found=found)
        except ClientError as error:
            problem = f"{type(error).__name__}: {error}"
        if not following:
            break
        if left != (left := _left(following, end)):
            silent_since = time.monotonic()
        if time.monotonic() - silent_since > PATIENCE_SECONDS:
            raise KafkaError(
                f"reading the log of {topic!r} failed: {problem}",
                expected=f"the brokers to answer within {PATIENCE_SECONDS:.0f} s",
                remedy="see `lakehouse status`, then run the command again",
            )
        time.sleep(_ELECTION_S)
        first = Broker(bootstrap_servers).topic(topic).first  # retention may have gone past what was to be read next
        for partition in list(following):
            _move(following, partition, max(following[partition], first.get(partition, 0)), end)
    return found.offsets()


def _left(following: Mapping[int, int], end: Mapping[int, int]) -> int:
    return sum(end[partition] - offset for partition, offset in following.items())


def _leaders(topic: str, servers: str) -> dict[int, int]:
    partitions = describe(admin_client(servers), [topic], servers=servers)[topic].partitions
    # While there is none, its id is negative.
    return {partition.id: partition.leader.id for partition in partitions}


def _round(
    client: KafkaNetClient,
    topic: str,
    *,
    leaders: Mapping[int, int],
    following: dict[int, int],
    end: Mapping[int, int],
    found: LogRuns,
) -> str:
    """Ask each leader once, and move `following` on; returns what went wrong, if anything did."""
    problem = ""
    for leader in sorted({leaders.get(partition, -1) for partition in following}):
        own = {partition: offset for partition, offset in following.items() if leaders.get(partition, -1) == leader}
        if leader < 0:
            problem = f"no leader of Kafka partitions {sorted(own)}"
            continue
        answer = client.send_and_receive(leader, fetch_request(topic, own), timeout_ms=int(TIMEOUT_S * 1000))
        for part in (part for response in answer.responses for part in response.partitions):
            partition = int(part.partition_index)
            if part.error_code:
                problem = f"Kafka partition {partition}: error {part.error_code}"
                continue
            aborted = [(item.producer_id, item.first_offset) for item in part.aborted_transactions or ()]
            offset = own[partition]
            for run in runs(bytes(part.records or b""), aborted, following=offset):
                if run.first < end[partition]:
                    found.add(partition, run.first, min(run.last, end[partition] - 1), run.kind)
                offset = run.last + 1
            if offset == own[partition]:
                problem = f"Kafka partition {partition}: nothing at offset {offset}, before {end[partition]}"
            _move(following, partition, offset, end)
    return problem


def _move(following: dict[int, int], partition: int, offset: int, end: Mapping[int, int]) -> None:
    following[partition] = offset
    if offset >= end[partition]:
        del following[partition]
