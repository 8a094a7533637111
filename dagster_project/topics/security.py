"""How clients of Kafka say who they are, and what a person is told where the cluster turns them away."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError as BrokerError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from dagster_project.errors import KafkaError

if TYPE_CHECKING:
    from dagster_project.variables.variables import Variables

# A log-in takes some tenths of a second on a busy machine, and a broker refuses a wrong one at once.
_KNOCK_S = 2.0
_POLL_S = 0.1
_NOT_KNOWN = {
    BrokerError._AUTHENTICATION,
    BrokerError.SASL_AUTHENTICATION_FAILED,
    BrokerError.UNSUPPORTED_SASL_MECHANISM,
    BrokerError.ILLEGAL_SASL_STATE,
}
_NOT_ALLOWED = {
    BrokerError.TOPIC_AUTHORIZATION_FAILED,
    BrokerError.GROUP_AUTHORIZATION_FAILED,
    BrokerError.CLUSTER_AUTHORIZATION_FAILED,
    BrokerError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}
_SILENT = {BrokerError._TIMED_OUT, BrokerError._TRANSPORT, BrokerError._ALL_BROKERS_DOWN, BrokerError.REQUEST_TIMED_OUT}
_KAFKA_PYTHON = {
    "security.protocol": "security_protocol",
    "sasl.mechanism": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "ssl.ca.location": "ssl_cafile",
}
# Where a client met the broker and how long it had waited: of no use to who reads it.
_AROUND = re.compile(r"^\w+://\S+: | \(after [^()]*\)$")


def librdkafka() -> dict[str, Any]:
    """Options for each client of confluent-kafka; none where the cluster asks for nothing."""
    variables = _variables()
    protocol = variables.kafka_security_protocol
    options: dict[str, Any] = {} if protocol == "PLAINTEXT" else {"security.protocol": protocol}
    if protocol.startswith("SASL"):
        options["sasl.mechanism"] = variables.kafka_sasl_mechanism
        options["sasl.username"] = variables.kafka_sasl_username
        options["sasl.password"] = variables.kafka_sasl_password.get_secret_value()
    if protocol.endswith("SSL") and variables.kafka_ssl_ca_location:
        options["ssl.ca.location"] = str(variables.kafka_ssl_ca_location)
    return options


def kafka_python() -> dict[str, Any]:
    """The same for kafka-python, which has other names."""
    return {_KAFKA_PYTHON[name]: value for name, value in librdkafka().items()}


def admin(servers: str, options: Mapping[str, Any], **more: Any) -> AdminClient:
    """A client for questions and changes, with this process's identity.

    Args:
        options: of librdkafka.
        more: of confluent-kafka.

    Raises:
        KafkaError: an option is not accepted, such as a file of authorities that is none.
    """
    try:
        return AdminClient({"bootstrap.servers": servers, **options, **librdkafka()}, **more)
    except KafkaException as error:
        raise KafkaError(
            f"no client for Kafka at {servers}: {error.args[0].str()}",
            remedy="correct what it names: KAFKA_SSL_CA_LOCATION, or another variable that begins with KAFKA_",
        ) from error


def refusal(error: BrokerError, *, servers: str, what: str = "do this") -> KafkaError | None:
    """What an error of a client says, if the cluster has turned this process away; `None` of any other.

    Args:
        what: was to be done, such as `read topic 'orders'`.
    """
    variables = _variables()
    protocol, user = variables.kafka_security_protocol, variables.kafka_sasl_username
    reason = _AROUND.sub("", _AROUND.sub("", error.str()))
    if error.code() in _NOT_KNOWN:
        return KafkaError(
            f"Kafka at {servers} does not let in user {user!r}: {reason}",
            expected="a user of the cluster, with its password and log-in mechanism",
            remedy="correct KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or KAFKA_SASL_MECHANISM",
        )
    if error.code() == BrokerError._SSL:
        return KafkaError(
            f"no TLS with Kafka at {servers}: {reason}",
            expected="a certificate for that address, signed by an authority of "
            + (
                f"KAFKA_SSL_CA_LOCATION={variables.kafka_ssl_ca_location}"
                if variables.kafka_ssl_ca_location
                else "this system"
            ),
            remedy="correct KAFKA_SSL_CA_LOCATION, or KAFKA_BOOTSTRAP_SERVERS to the name that is in the certificate",
        )
    if error.code() in _NOT_ALLOWED:
        who = f"user {user!r}" if protocol.startswith("SASL") else "a client that does not log in"
        return KafkaError(
            f"Kafka at {servers} does not allow {who} to {what}: {reason}",
            expected="the rights of the component that this process is",
            remedy="give them: `lakehouse topics rights` lists what each component needs",
        )
    return None


def explain(error: BaseException, *, servers: str, what: str = "do this") -> KafkaError | None:
    """Whether a call has failed because the cluster turns this process away; a client that is not let in only times out.

    Args:
        error: what the call raised.
    """
    raised = error.args[0] if isinstance(error, KafkaException) else None
    if isinstance(raised, BrokerError) and (found := refusal(raised, servers=servers, what=what)) is not None:
        return found
    silent = isinstance(error, TimeoutError) or (isinstance(raised, BrokerError) and raised.code() in _SILENT)
    return knock(servers) if silent else None


def knock(servers: str) -> KafkaError | None:
    """Connect anew and listen for why this process is turned away; `None` if it is let in, or nobody is there.

    Raises:
        KafkaError: as of `admin`.
    """
    heard: list[BrokerError] = []
    log = _Log()
    logger = logging.Logger("knock")  # noqa: LOG001 of nobody else: what it hears is written nowhere
    logger.addHandler(log)
    client = admin(servers, {"error_cb": heard.append}, logger=logger)
    deadline = time.monotonic() + _KNOCK_S
    while time.monotonic() < deadline:
        try:
            client.list_topics(timeout=_POLL_S)
        except KafkaException:
            client.poll(0)
        else:
            return None
        if found := next(filter(None, (refusal(error, servers=servers) for error in heard)), None):
            return found
        if log.refused:
            return None
        if log.hung_up:
            return KafkaError(
                f"Kafka at {servers} hangs up on KAFKA_SECURITY_PROTOCOL={_variables().kafka_security_protocol}",
                expected="the protocol of that listener",
                remedy="set KAFKA_SECURITY_PROTOCOL to it; or start the broker, if there is a proxy and nothing behind it",
            )
    return None


class _Log(logging.Handler):
    """What the client library tells of its connections, but not by an error: that nobody listens, or that one was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = self.hung_up = False

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.refused |= "Connection refused" in text
        # Before the broker has said a word; later it is one that stops.
        self.hung_up |= "Disconnected" in text and ("APIVERSION_QUERY" in text or "SSL connection closed" in text)


def _variables() -> Variables:
    # Imported late: a fifth of a second, for pydantic.
    from dagster_project.variables.variables import Variables

    return Variables.read()
