"""The admin client, and answers of the cluster that come in time or are a clear error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import TypeVar, overload

from confluent_kafka import KafkaError as BrokerError
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription

from dagster_project.errors import KafkaError
from dagster_project.topics import security

# Below Dagster's limit for a sensor tick (60 s, and 15 s behind some proxies), so that a dead broker gives a clear answer.
TIMEOUT_S = 10.0
_Result = TypeVar("_Result")


def admin_client(bootstrap_servers: str) -> AdminClient:
    # Errors come back with each answer; librdkafka's own lines would only repeat them on stderr.
    settings = {"socket.timeout.ms": int(TIMEOUT_S * 1000), "log_level": 0}
    return security.admin(bootstrap_servers, settings)


@overload
def answer(future: Future[_Result], *, servers: str, what: str = "do this") -> _Result: ...
@overload
def answer(
    future: Future[_Result], *, servers: str, what: str = "do this", accept: Collection[int]
) -> _Result | None: ...
def answer(
    future: Future[_Result], *, servers: str, what: str = "do this", accept: Collection[int] = ()
) -> _Result | None:
    """Wait for an answer; `None` where the cluster answers with an error code that is accepted.

    Args:
        what: is asked for, where a right may be missing for it, such as `see topic 'orders'`.

    Raises:
        KafkaError: the cluster does not answer in time, turns this process away, or has another error.
    """
    try:
        return future.result(TIMEOUT_S)
    except (KafkaException, TimeoutError) as error:
        if isinstance(error, KafkaException) and error.args[0].code() in accept:
            return None
        if (refused := security.explain(error, servers=servers, what=what)) is not None:
            raise refused from error
        raise KafkaError(
            f"Kafka at {servers} does not answer: {error}",
            expected=f"an answer within {TIMEOUT_S:.0f} s",
            remedy="see `lakehouse status`; start it with `lakehouse up`, or correct KAFKA_BOOTSTRAP_SERVERS",
        ) from error


def describe(admin: AdminClient, names: Iterable[str], *, servers: str) -> Mapping[str, TopicDescription]:
    """Topics by name; missing ones are left out.

    Raises:
        KafkaError: the cluster does not answer.
    """
    futures: Mapping[str, Future[TopicDescription]] = admin.describe_topics(
        TopicCollection(list(names)), request_timeout=TIMEOUT_S
    )
    answers = {
        name: answer(future, servers=servers, what=f"see topic {name!r}", accept=(BrokerError.UNKNOWN_TOPIC_OR_PART,))
        for name, future in futures.items()
    }
    return {name: topic for name, topic in answers.items() if topic is not None}


def identity(topic: TopicDescription) -> str:
    """A topic's id: another one after it was deleted and made anew."""
    # Base64 may have a slash in it, and the id becomes part of cursors' names and of folders'.
    return str(topic.topic_id).replace("/", "_")
