"""The Kafka cluster, as a Dagster resource."""

from __future__ import annotations

import dagster as dg

from dagster_project.settings import Settings
from dagster_project.topics.broker import Broker


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
        if self.servers:
            return self.servers
        # Imported late: each run pays for its imports, and with configured servers this one is not needed.
        from dagster_project.services.kafka import bootstrap_servers

        return bootstrap_servers(Settings.from_environment())

    def broker(self) -> Broker:
        return Broker(self.bootstrap())
