"""Every variable of the platform, typed: from the environment, or else from a file of its name in the folder of secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    Secret,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from dagster_project.errors import ConfigurationError, LakehouseError, together
from dagster_project.variables.files import folder_of, unreadable
from dagster_project.variables.redact import without_secret

Profile = Literal["local", "production"]
Connection = Literal["kafka", "redis", "registry", "store", "postgres"]
Origin = Literal["default", "environment", "file"]


class Url(Secret[str]):
    """A URL that may hold `user:password@`; shown without."""

    def _display(self) -> str:
        return without_secret(self.get_secret_value())


def _of_scheme(*schemes: str) -> AfterValidator:
    def check(url: Url) -> Url:
        scheme, separator, rest = url.get_secret_value().partition("://")
        if rest and separator and scheme in schemes:
            return url
        raise ValueError(f"a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")

    return AfterValidator(check)


def _names(value: Any) -> Any:
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


def _there(path: Path) -> Path:
    if path.is_file():
        return path
    raise ValueError("a file that is there")


def _on_s3(uri: str) -> str:
    if re.match(r"s3://[^/]", uri):
        return uri
    raise ValueError("s3://bucket/prefix")


_Path = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]
_File = Annotated[_Path, AfterValidator(_there)]
_Http = Annotated[Url, _of_scheme("http", "https")]
_NO_URL = Url("")
_NO_SECRET = SecretStr("")


class Variables(BaseSettings):
    """What is said of this installation. A field's name is the variable's in lower case, its description what it is for."""

    model_config = SettingsConfigDict(
        alias_generator=str.upper,
        case_sensitive=True,
        extra="ignore",
        frozen=True,
        # An error is printed, and what was found may be a secret.
        hide_input_in_errors=True,
        # An empty default says that nothing is configured, and is no URL.
        validate_default=False,
    )

    lakehouse_profile: Profile = Field(
        "local",
        description="`local`: what is not configured is started here. `production`: services are elsewhere, and what they "
        "need is required",
    )
    lakehouse_secrets: _Path | None = Field(
        None,
        description="a folder with files named like variables: the value of each variable that the environment does not set",
    )
    lakehouse_home: _Path = Field(
        default_factory=lambda: Path(".lakehouse").resolve(),
        description="local state: services, logs, Dagster's instance, and by default the lake",
    )
    lakehouse_project: _Path | None = Field(
        None, description="the folder that holds `contracts/`; by default the current one, else this repository"
    )
    lakehouse_uri: str = Field(
        "", description="root of all tables: a path, or `s3://bucket/prefix`; by default `lake` in LAKEHOUSE_HOME"
    )
    lakehouse_allow_plaintext: Annotated[frozenset[Connection], BeforeValidator(_names)] = Field(
        frozenset(),
        description="connections that may go without TLS in production, separated by commas: `kafka`, `redis`, `registry`, "
        "`store`, `postgres`",
    )

    kafka_bootstrap_servers: str = Field(
        "", description="Kafka's `host:port`, separated by commas; by default the broker of `lakehouse up`"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how Kafka is spoken to: with `SSL` in it by TLS, with `SASL` in it after a log-in"
    )
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = Field(
        "SCRAM-SHA-512", description="how the log-in is made"
    )
    kafka_sasl_username: str = Field("", description="who logs in to Kafka")
    kafka_sasl_password: SecretStr = Field(_NO_SECRET, description="the password of KAFKA_SASL_USERNAME")
    kafka_ssl_ca_location: _File | None = Field(
        None, description="a PEM file of the authorities that signed the brokers' certificates; by default the system's"
    )
    schema_registry_url: _Http = Field(
        _NO_URL,
        description="a schema registry, with `user:password@` where it asks for one; by default the one of `lakehouse up`",
    )

    redis_url: Annotated[Url, _of_scheme("redis", "rediss", "unix")] = Field(
        _NO_URL,
        description="a Redis or Valkey for what is served, `rediss://` for TLS, with `user:password@` where it asks for one; "
        "by default the cache of `lakehouse up`",
    )
    redis_ca_location: _File | None = Field(
        None, description="a PEM file of the authority that signed the cache's certificate; by default the system's"
    )

    lakehouse_pseudonym_keys: SecretStr = Field(
        _NO_SECRET,
        description="what pseudonyms are made with: `<name>:<base64>,…`; by default made by `lakehouse up`, for local use",
    )
    lakehouse_prices: _Path | None = Field(None, description="a YAML file that says what differs from AWS' list prices")
    lakehouse_engine: Literal["auto", "local", "spark", "glue", "emr"] = Field(
        "auto", description="where `lakehouse cost route` puts Silver and the marts: `auto` is by what was measured"
    )
    lakehouse_spark: str = Field(
        "",
        description="where marts with `engine: spark` are computed: a master as spark-submit knows it, "
        "`emr-serverless://<application>?role=<arn>` or `glue://<job>`",
    )
    lakehouse_dashboard_token: SecretStr = Field(
        _NO_SECRET, description="what viewers of the live page must have; required where others can reach it"
    )
    lakehouse_metrics_token: SecretStr = Field(
        _NO_SECRET, description="what whoever scrapes metrics must have; required where others can reach the exporter"
    )
    lakehouse_kafka_port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        None, description="client port of the first local broker; by default a free one"
    )

    dagster_postgres_url: Annotated[Url, _of_scheme("postgresql")] = Field(
        _NO_URL,
        description="the PostgreSQL database of Dagster's runs, events and schedules: `postgresql://user:password@host/name`; "
        "by default SQLite in LAKEHOUSE_HOME",
    )
    lakehouse_compute_logs: Annotated[str, AfterValidator(_on_s3)] = Field(
        "",
        description="where the output of runs is kept: `s3://bucket/prefix`; by default in LAKEHOUSE_HOME",
    )

    aws_access_key_id: str = Field("", description="who asks the store; by default the role of the machine")
    aws_secret_access_key: SecretStr = Field(_NO_SECRET, description="the secret of AWS_ACCESS_KEY_ID")
    aws_session_token: SecretStr = Field(_NO_SECRET, description="the token of temporary credentials")
    aws_region: str = Field("", description="where the bucket is")
    aws_default_region: str = Field("", description="where the bucket is, for libraries that do not read AWS_REGION")
    aws_endpoint_url: _Http = Field(_NO_URL, description="a store of your own that speaks S3; by default AWS")
    aws_ca_bundle: _File | None = Field(
        None, description="a PEM file of the authority that signed the store's certificate; by default the system's"
    )

    otel_exporter_otlp_endpoint: _Http = Field(
        _NO_URL, description="a collector that spans are sent to, over HTTP; by default there are none"
    )
    otel_exporter_otlp_headers: SecretStr = Field(_NO_SECRET, description="what the collector asks for: `name=value,…`")

    _environment: frozenset[str] = PrivateAttr(default=frozenset())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment is handed over by `read`, as a value: of this process, of a child to be, or of a test."""
        del settings_cls, env_settings, dotenv_settings
        return init_settings, file_secret_settings

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A variable that is set to nothing is not set: `NAME= command` says so."""
        return {name: value for name, value in values.items() if value != ""}

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Variables:
        """Read all variables. Takes a millisecond, so nobody keeps them for longer than they are true.

        Raises:
            ConfigurationError: values that make no sense, none of which is shown where it may be a secret.
        """
        names = {name: value for name in NAMES if (value := environment.get(name))}
        folder = folder_of(environment)
        given: dict[str, Any] = {**names, "_secrets_dir": folder}
        try:
            variables = cls(**given)
        except ValidationError as error:
            refused = _refused(error, names)
        except SettingsError as error:
            refused = unreadable(folder or Path(), error.__cause__)
        else:
            variables._environment = frozenset(names)
            return variables
        # Outside of the handler: what it caught holds the values.
        raise refused

    def origin(self, name: str) -> Origin:
        """Where a field's value came from."""
        if name.upper() in self._environment:
            return "environment"
        return "file" if name in self.model_fields_set else "default"


NAMES = tuple(name.upper() for name in Variables.model_fields)


def _refused(error: ValidationError, environment: Mapping[str, str]) -> ConfigurationError:
    """The problems of values in our words, and none of what may be a secret: with `from None` alone it would be in reach."""
    errors: list[LakehouseError] = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(problem["loc"][0])
        shown = "hidden, as it may be a secret" if is_secret(name) else environment.get(name, "from its file")
        expected = (
            problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ").partition(", unable")[0]
        )
        errors.append(ConfigurationError(f"{name}={shown}", expected=expected, remedy=f"correct {name}, or unset it"))
    return together(errors)


def is_secret(name: str) -> bool:
    """Whether a variable's value is shown in part at most."""
    annotation = Variables.model_fields[name.lower()].annotation
    return isinstance(annotation, type) and issubclass(annotation, Secret | SecretStr)
