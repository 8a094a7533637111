"""Each client of Kafka says who this process is, and a refusal is told as one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError as BrokerError
from confluent_kafka import KafkaException

from dagster_project.settings import REPOSITORY
from dagster_project.topics import security

# Of confluent-kafka, and of kafka-python.
LIBRDKAFKA = {
    "AdminClient",
    "AIOConsumer",
    "AIOProducer",
    "AvroConsumer",
    "AvroProducer",
    "Consumer",
    "DeserializingConsumer",
    "Producer",
    "SerializingProducer",
    "ShareConsumer",
}
KAFKA_PYTHON = {"KafkaAdminClient", "KafkaClient", "KafkaConsumer", "KafkaNetClient", "KafkaProducer"}
PASSWORD = "not-to-be-shown"


def forgetful(source: str) -> Iterator[int]:
    """Lines that make a client without the options of security."""
    tree = ast.parse(source)
    imported = {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in {"confluent_kafka", "kafka"}
        for name in node.names
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        # `Consumer(…)` by its import, or `ck.Consumer(…)`.
        name = node.func.id if isinstance(node.func, ast.Name) and node.func.id in imported else ""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else name
        options = "librdkafka" if name in LIBRDKAFKA else "kafka_python" if name in KAFKA_PYTHON else ""
        if options and not _merges(node, options) and not _merged_before(tree, node, options):
            yield node.lineno


def _merges(node: ast.AST, options: str) -> bool:
    called = (part.func for part in ast.walk(node) if isinstance(part, ast.Call))
    return any(getattr(func, "attr", getattr(func, "id", "")) == options for func in called)


def _merged_before(tree: ast.Module, call: ast.Call, options: str) -> bool:
    """Whether its argument is a variable that the same function has made of them."""
    names = {argument.id for argument in call.args if isinstance(argument, ast.Name)}
    return any(
        isinstance(part, ast.AnnAssign | ast.Assign)
        and part.value is not None
        and _merges(part.value, options)
        and names & {target.id for target in ast.walk(part) if isinstance(target, ast.Name)}
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and call in ast.walk(function)
        for part in ast.walk(function)
    )


def test_every_client_of_kafka_says_who_it_is() -> None:
    sources = sorted((REPOSITORY / "dagster_project").rglob("*.py"))
    found = [f"{path.relative_to(REPOSITORY)}:{line}" for path in sources for line in forgetful(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "from confluent_kafka import Consumer\nConsumer({'group.id': 'x'})",
        "import confluent_kafka as ck\nck.Producer({'linger.ms': 5})",
        "from confluent_kafka.admin import AdminClient\ndef admin():\n    settings = {}\n    return AdminClient(settings)",
        "from kafka import KafkaConsumer\nKafkaConsumer(**security.librdkafka())",
    ],
)
def test_one_that_does_not_is_found(source: str) -> None:
    assert list(forgetful(source))


def test_options_are_those_of_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    assert (security.librdkafka(), security.kafka_python()) == ({}, {})
    _log_in(monkeypatch, ca=ca)
    assert security.librdkafka() == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "ingest",
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(ca),
    }
    assert security.kafka_python() == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "ingest",
        "sasl_plain_password": PASSWORD,
        "ssl_cafile": str(ca),
    }


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (BrokerError._AUTHENTICATION, "does not let in user 'ingest'"),
        (BrokerError.SASL_AUTHENTICATION_FAILED, "does not let in user 'ingest'"),
        (BrokerError._SSL, "no TLS with Kafka at broker:9093"),
        (BrokerError.TOPIC_AUTHORIZATION_FAILED, "does not allow user 'ingest' to read topic 'orders'"),
        (BrokerError.GROUP_AUTHORIZATION_FAILED, "does not allow user 'ingest' to read topic 'orders'"),
        (BrokerError.CLUSTER_AUTHORIZATION_FAILED, "does not allow user 'ingest' to read topic 'orders'"),
        (BrokerError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "does not allow user 'ingest' to read topic 'orders'"),
    ],
)
def test_a_refusal_says_who_may_not_do_what(monkeypatch: pytest.MonkeyPatch, code: int, words: str) -> None:
    _log_in(monkeypatch)
    reason = "sasl_ssl://broker:9093/bootstrap: it says why (after 12ms in state AUTH_REQ)"
    error = KafkaException(BrokerError(code, reason))
    found = security.explain(error, servers="broker:9093", what="read topic 'orders'")
    assert found is not None
    assert found.found.startswith(("Kafka at broker:9093", "no TLS"))
    assert words in found.found
    assert found.found.endswith(": it says why")
    assert found.expected
    assert found.remedy
    assert PASSWORD not in str(found)


def test_any_other_error_is_none() -> None:
    for code in (BrokerError.UNKNOWN_TOPIC_OR_PART, BrokerError._FENCED):
        assert security.explain(KafkaException(BrokerError(code)), servers="broker:9093") is None


def _log_in(monkeypatch: pytest.MonkeyPatch, *, ca: Path | None = None) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "ingest")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", PASSWORD)
    monkeypatch.setenv("KAFKA_SSL_CA_LOCATION", str(ca or ""))
