"""The admin client, and answers of the cluster that come in time or are a clear error."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from dagster_project.errors import KafkaError

# Below Dagster's limit for a sensor tick (60 s, and 15 s behind some proxies), so that a dead broker gives a clear answer.
TIMEOUT_S = 10.0
_Result = TypeVar("_Result")


def admin_client(bootstrap_servers: str) -> AdminClient:
    # Errors come back with each answer; librdkafka's own lines would only repeat them on stderr.
    settings = {"socket.timeout.ms": int(TIMEOUT_S * 1000), "log_level": 0}
    return AdminClient({"bootstrap.servers": bootstrap_servers, **settings})


def answer(future: Future[_Result], *, servers: str, accept: int | None = None) -> _Result | None:
    """Wait for an answer; `None` where the cluster answers with the one error code that is accepted.

    Raises:
        KafkaError: the cluster does not answer in time, or with another error.
    """
    try:
        return future.result(TIMEOUT_S)
    except (KafkaException, TimeoutError) as error:
        if isinstance(error, KafkaException) and accept is not None and error.args[0].code() == accept:
            return None
        raise KafkaError(
            f"Kafka at {servers} does not answer: {error}",
            expected=f"an answer within {TIMEOUT_S:.0f} s",
            remedy="see `lakehouse status`; start it with `lakehouse up`, or correct KAFKA_BOOTSTRAP_SERVERS",
        ) from error
