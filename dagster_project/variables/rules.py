"""What variables say together: what a profile requires, and what would not be used or not be safe."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from dagster_project.errors import ConfigurationError
from dagster_project.variables.variables import Connection, Variables

# libpq's words for connections that are never made without TLS.
_POSTGRES_TLS = frozenset({"require", "verify-ca", "verify-full"})


def problems(variables: Variables) -> Iterator[ConfigurationError]:
    """What is wrong with variables each of which is right."""
    yield from _kafka(variables)
    if variables.lakehouse_profile == "production":
        yield from _required(variables)
        yield from _plaintext(variables)


def _kafka(variables: Variables) -> Iterator[ConfigurationError]:
    protocol = variables.kafka_security_protocol
    password = variables.kafka_sasl_password.get_secret_value()
    if protocol.startswith("SASL_"):
        for name, value in (("KAFKA_SASL_USERNAME", variables.kafka_sasl_username), ("KAFKA_SASL_PASSWORD", password)):
            if not value:
                yield ConfigurationError(
                    f"KAFKA_SECURITY_PROTOCOL={protocol}, and {name} is not set",
                    expected="a user name and a password to log in to Kafka with",
                    remedy=f"set {name}, or put it into a file of this name in the folder of LAKEHOUSE_SECRETS",
                )
    elif variables.kafka_sasl_username or password:
        yield ConfigurationError(
            f"KAFKA_SECURITY_PROTOCOL={protocol}, with which nobody logs in, and a user name or password for Kafka",
            expected="SASL_SSL, or no KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
            remedy="set KAFKA_SECURITY_PROTOCOL=SASL_SSL, or unset the two",
        )
    if protocol != "PLAINTEXT" and not variables.kafka_bootstrap_servers:
        yield ConfigurationError(
            f"KAFKA_SECURITY_PROTOCOL={protocol}, and KAFKA_BOOTSTRAP_SERVERS is not set",
            expected="the address of the cluster; the broker of `lakehouse up` speaks PLAINTEXT on this machine alone",
            remedy="set KAFKA_BOOTSTRAP_SERVERS, or unset KAFKA_SECURITY_PROTOCOL",
        )


def _required(variables: Variables) -> Iterator[ConfigurationError]:
    for name, value, expected in (
        ("KAFKA_BOOTSTRAP_SERVERS", variables.kafka_bootstrap_servers, "the brokers' host:port"),
        ("LAKEHOUSE_URI", variables.lakehouse_uri.startswith("s3://"), "s3://bucket/prefix, which all machines share"),
        ("DAGSTER_POSTGRES_URL", variables.dagster_postgres_url.get_secret_value(), "postgresql://user:password@host/name"),
        ("LAKEHOUSE_COMPUTE_LOGS", variables.lakehouse_compute_logs, "s3://bucket/prefix for the output of runs"),
    ):  # fmt: skip
        if not value:
            yield ConfigurationError(
                f"LAKEHOUSE_PROFILE=production, and {name} is not set"
                + (" to a place on S3" if name == "LAKEHOUSE_URI" else ""),
                expected=expected,
                remedy=f"set {name}; docs/configuration.md lists what production requires",
            )


def _plaintext(variables: Variables) -> Iterator[ConfigurationError]:
    for connection, name, open_, expected in _connections(variables):
        if open_ and connection not in variables.lakehouse_allow_plaintext:
            yield ConfigurationError(
                f"LAKEHOUSE_PROFILE=production, and {name} lets data and passwords go without TLS",
                expected=expected,
                remedy=f"set {name} to that; or allow it where the network itself is trusted, with {connection} in "
                "LAKEHOUSE_ALLOW_PLAINTEXT",
            )


def _connections(variables: Variables) -> Iterator[tuple[Connection, str, bool, str]]:
    """Each connection, its variable, whether it goes without TLS, and what would not."""
    yield (
        "kafka",
        "KAFKA_SECURITY_PROTOCOL",
        not variables.kafka_security_protocol.endswith("SSL"),
        "SASL_SSL, or SSL",
    )
    yield "redis", "REDIS_URL", variables.redis_url.get_secret_value().startswith("redis:"), "rediss://…"
    registry = variables.schema_registry_url.get_secret_value()
    yield "registry", "SCHEMA_REGISTRY_URL", registry.startswith("http:"), "https://…"
    yield "store", "AWS_ENDPOINT_URL", variables.aws_endpoint_url.get_secret_value().startswith("http:"), "https://…"
    if url := variables.dagster_postgres_url.get_secret_value():
        modes = parse_qs(urlsplit(url).query).get("sslmode", [""])
        yield (
            "postgres",
            "DAGSTER_POSTGRES_URL",
            modes[-1] not in _POSTGRES_TLS,
            "a URL that ends with ?sslmode=verify-full",
        )
