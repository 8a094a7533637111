"""Where the topics end, as the broker says."""

from __future__ import annotations

from collections.abc import Mapping

from dagster_project.contract.model import Catalog
from dagster_project.errors import KafkaError, LakehouseError
from dagster_project.services.kafka import bootstrap_servers
from dagster_project.settings import Settings
from dagster_project.topics.broker import Broker, Topic
from dagster_project.topics.survey import survey


class TopicReader:
    """Asks about all topics of a project at once; finds the broker anew where it has moved."""

    def __init__(self, catalog: Catalog, *, settings: Settings) -> None:
        self._names = [dataset.topic.name for dataset in catalog.datasets]
        self._settings = settings
        self._broker: tuple[str, Broker] | None = None

    def read(self) -> Mapping[str, Topic | str]:
        """By name, each topic, or what is wrong with it.

        Raises:
            LakehouseError: there is no broker, or it does not answer.
        """
        servers = bootstrap_servers(self._settings)
        if self._broker is None or self._broker[0] != servers:
            self._broker = servers, Broker(servers)
        found = survey(self._broker[1], self._names)
        return {name: _topic(name, topic) for name, topic in found.items()}


def _topic(name: str, topic: Topic | KafkaError | None) -> Topic | str:
    if isinstance(topic, LakehouseError):
        return topic.found
    return f"no topic {name}" if topic is None else topic
