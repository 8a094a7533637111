"""The Kafka cluster, as a Dagster resource."""

from __future__ import annotations

import dagster as dg

from dagster_project.topics.broker import Broker
from dagster_project.services.kafka import bootstrap_servers
from dagster_project.settings import Settings


class KafkaResource(dg.ConfigurableResource[Broker]):
    """Where the brokers are.

    Attributes:
        servers: bootstrap servers; empty means the broker that `lakehouse up` started, looked up at each use, so that
            a code location which is loaded before the broker finds it all the same.
    """

    servers: str = ""

    def bootstrap(self) -> str:
        """The bootstrap servers.

        Raises:
            ServiceError: none are configured and no local broker was started.
        """
        return self.servers or bootstrap_servers(Settings.from_environment())

    def broker(self) -> Broker:
        return Broker(self.bootstrap())
