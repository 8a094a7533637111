"""How the broker is asked: with patience for what passes, and with errors that say what to do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

import confluent_kafka as ck

from dagster_project.errors import KafkaError
from dagster_project.topics import security
from dagster_project.topics.client import admin_client, describe, identity

# A broker learns of a topic that was just made within milliseconds; till then it says that there is none.
NEWS_SECONDS = 2.0
RETRY_SECONDS = 0.1
# In the middle of the work a broker may restart, which takes seconds; one that is silent for longer is down.
PATIENCE_SECONDS = 30.0
# Ctrl-C is seen between two calls into the client library, so none of them may take long.
CALL_SECONDS = 1.0
_FENCED = {ck.KafkaError._FENCED, ck.KafkaError.PRODUCER_FENCED, ck.KafkaError.INVALID_PRODUCER_EPOCH}
# What a broker says while it starts, or while another one takes over its work.
_PASSING = {
    ck.KafkaError._TIMED_OUT,
    ck.KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    ck.KafkaError.COORDINATOR_NOT_AVAILABLE,
    ck.KafkaError.NOT_COORDINATOR,
}
# The client library writes to standard error unless it is given a logger.
LOGGER = logging.getLogger(__name__)
LOGGER.addHandler(logging.NullHandler())
Answer = TypeVar("Answer")


def topic_id(topic: str, *, bootstrap: str) -> str:
    """Identity of a topic: another one after it was deleted and made anew.

    Raises:
        KafkaError: no broker, or no such topic.
    """
    admin = admin_client(bootstrap)
    deadline = time.monotonic() + NEWS_SECONDS
    while topic not in (described := describe(admin, [topic], servers=bootstrap)):
        if time.monotonic() > deadline:
            raise KafkaError(f"no topic {topic} at {bootstrap}", remedy="run lakehouse topics apply")
        time.sleep(RETRY_SECONDS)
    return identity(described[topic])


def patiently(call: Callable[[float], Answer]) -> Answer:
    """Make a call that takes a timeout until it is done; one that ran out of time goes on where it was.

    Raises:
        confluent_kafka.KafkaException: the call failed for good, or PATIENCE_SECONDS are over.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call(CALL_SECONDS)
        except ck.KafkaException as exception:
            error = exception.args[0]
            if not (error.retriable() or error.code() in _PASSING) or time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)


class Abandoned(ck.KafkaException):
    """A call did not come back: its producer can do nothing more, and the next one takes over."""


def bounded(call: Callable[[], Answer], *, seconds: float) -> Answer:
    """Make a call that may never come back; if it does not, it is left to a thread that ends with the process.

    Raises:
        confluent_kafka.KafkaException: as the call does.
        Abandoned: the time is over.
    """
    answer: Future[Answer] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 raised again where the answer is waited for
            answer.set_exception(error)

    threading.Thread(target=work, name="bounded", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError as error:
        raise Abandoned(ck.KafkaError(ck.KafkaError.REQUEST_TIMED_OUT)) from error


@contextmanager
def own_errors(topic: str, *, servers: str) -> Generator[None]:
    """Turn the client library's errors about sending to a topic into KafkaError."""
    try:
        yield
    except ck.KafkaException as exception:
        error = exception.args[0]
        if error.code() in _FENCED:
            raise KafkaError(
                f"another producer of {topic} took over",
                expected="one producer of a dataset at a time",
                remedy="wait until the other one is done, then run the command again",
            ) from exception
        if (refused := security.explain(exception, servers=servers, what=f"send to topic {topic!r}")) is not None:
            raise refused from exception
        raise KafkaError(
            f"sending to {topic} failed: {error.name()}: {error.str()}",
            remedy="see that the broker is up and run the command again: it goes on where it stopped",
        ) from exception
