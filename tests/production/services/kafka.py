"""A Kafka cluster that lets in whom it knows, to what they may do: SCRAM-SHA-512 over TLS, and ACLs."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from dagster_project.contract.model import Dataset
from dagster_project.services.cluster import Broker, Cluster, properties
from dagster_project.services.java import KAFKA, class_path, find_java
from dagster_project.services.launch import environment
from dagster_project.services.ports import LOOPBACK
from dagster_project.topics.rights import COMPONENTS, Right, rights
from tests.production.services.certificates import Authority, Certificate
from tests.production.services.process import free_ports, start, stop, wait_until

MECHANISM = "SCRAM-SHA-512"
# What each user may do: the components, each by itself; and the one that the code location's processes have, as its runs
# of Bronze and of the outbox are children of one process and have its environment.
USERS: Mapping[str, tuple[str, ...]] = {
    **{component: (component,) for component in COMPONENTS},
    "runs": ("ingest", "outbox"),
    "nobody": (),
}
_ROOT = "root"
_JVM = (
    "-Xmx512m",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:TieredStopAtLevel=1",
    f"-Dlog4j2.configurationFile={KAFKA / 'log4j2.yaml'}",
)
_SETTLED_SECONDS = 30.0


@dataclass(kw_only=True)
class SecureKafka:
    """A cluster that runs.

    Attributes:
        ca: of the authority that has signed the brokers' certificates.
    """

    cluster: Cluster
    ca: Path
    _passwords: Mapping[str, str]
    _processes: dict[int, subprocess.Popen[bytes]]

    @property
    def servers(self) -> str:
        return self.cluster.bootstrap_servers

    def variables(self, user: str) -> dict[str, str]:
        """What a process of this user has in its environment."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": MECHANISM,
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": self._passwords[user],
            "KAFKA_SSL_CA_LOCATION": str(self.ca),
        }

    def client(self, user: str = _ROOT) -> dict[str, str]:
        """Options of librdkafka, for tests that speak to the cluster past the platform; root may do everything."""
        return {
            "bootstrap.servers": self.servers,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISM,
            "sasl.username": user,
            "sasl.password": self._passwords[user],
            "ssl.ca.location": str(self.ca),
        }

    def grant(self, datasets: Sequence[Dataset]) -> None:
        """Give each user what its components need for these datasets; on return every broker knows."""
        entries = rights(datasets)
        for user, components in USERS.items():
            self.allow(user, [right for right in entries if right.component in components])

    def allow(self, user: str, entries: Sequence[Right]) -> None:
        if not entries:
            return
        admin = AdminClient({**self.client(), "log_level": 0})
        # Two components of one user may need the same.
        for future in admin.create_acls(list({_binding(user, right) for right in entries})).values():
            future.result(_SETTLED_SECONDS)

    def kill(self, broker: int) -> None:
        """As a crash would."""
        stop(self._processes[broker], patience=0)

    def restart(self, broker: int) -> None:
        """Start one that was killed."""
        self._processes[broker] = _start(self.cluster.broker(broker))
        self.wait()

    def wait(self) -> None:
        """Until all brokers that run are in service."""
        running = {id_: process for id_, process in self._processes.items() if process.poll() is None}
        log = self.cluster.broker(next(iter(running))).log
        wait_until(lambda: len(self._in_service()) == len(running), list(running.values()), log=log)

    def _in_service(self) -> Mapping[int, object]:
        client = AdminClient({**self.client(), "log_level": 0, "reconnect.backoff.max.ms": 200})
        try:
            return client.list_topics(timeout=1.0).brokers
        except KafkaException:
            return {}


@contextmanager
def secure_kafka(folder: Path, *, brokers: int = 3) -> Generator[SecureKafka]:
    """Start a cluster; with three brokers every record is on three and acknowledged by two.

    Args:
        folder: for its data, logs and certificates; made if need be.
        brokers: 1 or 3.
    """
    authority = Authority(folder / "certificates")
    certificate = authority.certify("broker")
    ports = free_ports(2 * brokers)
    cluster = Cluster(
        id=base64.urlsafe_b64encode(b"\x01" + uuid.uuid4().bytes[1:]).decode().rstrip("="),
        brokers=tuple(
            Broker(
                id=n + 1, client_port=ports[2 * n], controller_port=ports[2 * n + 1], folder=folder / f"kafka-{n + 1}"
            )
            for n in range(brokers)
        ),
    )
    passwords = {user: secrets.token_urlsafe(24) for user in (_ROOT, *USERS)}
    started: dict[int, subprocess.Popen[bytes]] = {}
    kafka = SecureKafka(cluster=cluster, ca=authority.ca, _passwords=passwords, _processes=started)
    try:
        formatting = [_format(cluster, broker, certificate, authority.ca, passwords) for broker in cluster.brokers]
        for process in formatting:
            output, _ = process.communicate()
            assert process.returncode == 0, output.decode()
        for broker in cluster.brokers:
            started[broker.id] = _start(broker)
        kafka.wait()
        yield kafka
    finally:
        for process in started.values():
            stop(process, patience=0)  # what it holds goes with it


def _format(
    cluster: Cluster, broker: Broker, certificate: Certificate, ca: Path, passwords: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Users are part of an empty log's beginning, so that there are some before the first connection."""
    broker.folder.mkdir(parents=True, exist_ok=True)
    plain = properties(cluster, broker, data=broker.data)
    broker.properties.touch(mode=0o600)
    broker.properties.write_text(plain + _secured(broker, certificate, ca, passwords[_ROOT]))
    users = [
        part
        for user, password in passwords.items()
        for part in ("--add-scram", f"{MECHANISM}=[name={user},password={password}]")
    ]
    java, *tool = _java("kafka.tools.StorageTool")
    words = [*tool, "format", "--config", str(broker.properties), "--cluster-id", cluster.id, *users]
    # In a file and not on the command line, which every user of the machine may read.
    arguments = broker.folder / "format.arguments"
    arguments.touch(mode=0o600)
    arguments.write_text("\n".join(json.dumps(word) for word in words))
    return subprocess.Popen(
        [java, f"@{arguments}"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _start(broker: Broker) -> subprocess.Popen[bytes]:
    return start([*_java("kafka.Kafka"), str(broker.properties)], log=broker.log, environment=environment())


def _java(main: str) -> list[str]:
    return [str(find_java()), *_JVM, "-cp", class_path(report=print), main]


def _secured(broker: Broker, certificate: Certificate, ca: Path, password: str) -> str:
    """What is said later counts: these lines come after those of an open cluster."""
    login = (
        f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{_ROOT}" password="{password}";'
    )
    settings = {
        "listeners": f"SASL_SSL://{broker.address},CONTROLLER://{LOOPBACK}:{broker.controller_port}",
        "advertised.listeners": f"SASL_SSL://{broker.address}",
        # Controllers know each other by certificate: SCRAM's users are in the very log that they agree on.
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:SSL",
        "listener.name.controller.ssl.client.auth": "required",
        "inter.broker.listener.name": "SASL_SSL",
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": login,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificate.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{_ROOT};User:CN=broker",
        "allow.everyone.if.no.acl.found": "false",
    }
    return "".join(f"{name}={json.dumps(value)[1:-1]}\n" for name, value in settings.items())


def _binding(user: str, right: Right) -> AclBinding:
    kinds = {
        "topic": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "transactional-id": ResourceType.TRANSACTIONAL_ID,
    }
    operations = {"AlterConfigs": "ALTER_CONFIGS", "DescribeConfigs": "DESCRIBE_CONFIGS"}
    return AclBinding(
        kinds[right.resource],
        right.name,
        ResourcePatternType.PREFIXED if right.prefixed else ResourcePatternType.LITERAL,
        f"User:{user}",
        "*",
        AclOperation[operations.get(right.operation, right.operation.upper())],
        AclPermissionType.ALLOW,
    )
