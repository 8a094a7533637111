"""Topics together, or each by itself where one topic's trouble would hide the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from dagster_project.errors import KafkaError
from dagster_project.topics.broker import Broker, Topic


def survey(broker: Broker, names: Sequence[str]) -> Mapping[str, Topic | KafkaError | None]:
    """Describe topics: what the broker says, why it cannot say it, or `None` of a topic that does not exist.

    Raises:
        KafkaError: it cannot say anything of any of them.
    """
    broker.cluster_id()  # one that is down costs one time-out, and not one more in which each topic is tried
    try:
        found = broker.topics(names)
    except KafkaError:
        with ThreadPoolExecutor(len(names)) as pool:  # side by side: each may take its whole time-out
            answers = dict(zip(names, pool.map(lambda name: _one(broker, name), names), strict=True))
        errors = [answer for answer in answers.values() if isinstance(answer, KafkaError)]
        if len(errors) == len(answers):
            raise errors[0] from None
        return answers
    return {name: found.get(name) for name in names}


def _one(broker: Broker, name: str) -> Topic | KafkaError | None:
    try:
        return broker.topics([name]).get(name)
    except KafkaError as error:
        return error
