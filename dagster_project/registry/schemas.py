"""The schema registry as this platform uses it: schemas by id, and a contract's own schema registered."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dagster_project.contract.avro import avro_schema, columns_of
from dagster_project.contract.change import Change
from dagster_project.contract.columns_diff import compare_columns
from dagster_project.contract.json_schema import json_schema
from dagster_project.contract.model import Dataset
from dagster_project.errors import ContractError, RegistryError
from dagster_project.variables.redact import tells_secret, without_secret

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

COMPATIBILITY = "FULL_TRANSITIVE"
# One small answer; a registry that is slower does not work. Twice again, since one that starts anew takes seconds.
_SECONDS, _RETRIES = 5.0, 2
_NOT_FOUND, _CONFLICT = 404, 409
# The registry's own word for "no such schema"; any other 404 is of an address where no registry is.
_NO_SCHEMA = 40403
_NO_SUBJECTS = (40401, 40402, _NO_SCHEMA)


@dataclass(frozen=True, kw_only=True)
class WriterSchema:
    """A schema that messages were written with: `AVRO`, `JSON` or `PROTOBUF`, and its text."""

    kind: str
    text: str


class Schemas(Protocol):
    """Schemas by id."""

    def schema(self, schema_id: int) -> WriterSchema | None:
        """The schema of an id, which never changes; `None` where there is none.

        Raises:
            RegistryError: nobody can say.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A contract's schema in the registry; `new` if it was not there before.

    Attributes:
        changes: of columns and types since the version before, as `contract diff` calls them. The registry asks less: that
            versions read each other. Of a JSON Schema, and of one that somebody else wrote, there are none.
    """

    dataset: str
    subject: str
    schema_id: int
    version: int
    compatibility: str
    new: bool
    changes: tuple[Change, ...] = ()


class Registry:
    """A registry that speaks Confluent's API.

    Args:
        url: with `user:password@` where it asks for one.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def schema(self, schema_id: int) -> WriterSchema | None:
        """As of `Schemas`."""
        from confluent_kafka.schema_registry import SchemaRegistryError

        with self._client() as client:
            try:
                found = client.get_schema(schema_id)
            except SchemaRegistryError as error:
                if error.http_status_code == _NOT_FOUND and error.error_code == _NO_SCHEMA:
                    return None
                raise
        kind = found.schema_type or "AVRO"
        # Such a one is not whole: it goes with no contract.
        return WriterSchema(kind=f"{kind} with references" if found.references else kind, text=found.schema_str or "")

    def subjects(self) -> list[str]:
        """Names of what is registered.

        Raises:
            RegistryError: it does not answer.
        """
        with self._client() as client:
            return client.get_subjects()

    def register(self, dataset: Dataset) -> Registered:
        """Register the schema of a contract, from then on checked against all versions in both directions.

        The same schema again changes nothing.

        Raises:
            ContractError: it does not go with those that were registered before.
            RegistryError: the registry does not answer, or takes it for no schema.
        """
        from confluent_kafka.schema_registry import SchemaRegistryError

        subject, schema = dataset.topic.subject, schema_of(dataset)
        with self._client() as client:
            before = _version(client, subject, schema)
            changes = _changes(client, dataset) if before is None else ()
            client.set_compatibility(subject, COMPATIBILITY)
            try:
                schema_id = client.register_schema(subject, schema)
            except SchemaRegistryError as error:
                if error.http_status_code != _CONFLICT:
                    raise
                raise ContractError(
                    f"{dataset.source}: {subject}: {error.error_message}",
                    expected=f"a change by which every version reads the messages of every other ({COMPATIBILITY})",
                    remedy=_remedy(dataset, changes),
                ) from error
            version = _version(client, subject, schema)
        return Registered(
            dataset=dataset.name,
            subject=subject,
            schema_id=schema_id,
            version=version or 0,
            compatibility=COMPATIBILITY,
            new=before is None,
            changes=changes,
        )

    @contextmanager
    def _client(self) -> Generator[SchemaRegistryClient]:
        """A client for a question or two; what it raises becomes an error of ours, as it comes from several libraries."""
        # Imported here: it takes a fifth of a second, and few processes need it.
        from confluent_kafka.schema_registry import SchemaRegistryClient

        try:
            with SchemaRegistryClient({"url": self._url, "timeout": _SECONDS, "max.retries": _RETRIES}) as client:
                yield client
        except (ContractError, RegistryError):
            raise
        except Exception as error:  # noqa: BLE001 of several libraries; each is raised as one of ours
            hidden = tells_secret(str(error), self._url)
            told = f"{type(error).__name__}, of its password" if hidden else str(error) or type(error).__name__
            refused = RegistryError(
                f"the schema registry at {without_secret(self._url)}: {told}",
                expected="an answer in Confluent's API",
                remedy="see that it runs and that SCHEMA_REGISTRY_URL leads there (`lakehouse status`), then run again; "
                "nothing was written",
            )
            raise refused from (None if hidden else error)


def schema_of(dataset: Dataset) -> Schema:
    """A contract's schema as the registry's client takes it."""
    from confluent_kafka.schema_registry import Schema

    if dataset.topic.format == "avro":
        return Schema(json.dumps(avro_schema(dataset)), "AVRO")
    return Schema(json.dumps(json_schema(dataset)), "JSON")


def _changes(client: SchemaRegistryClient, dataset: Dataset) -> tuple[Change, ...]:
    """Of columns and types since the newest version in the registry."""
    from confluent_kafka.schema_registry import SchemaRegistryError

    try:
        newest = client.get_latest_version(dataset.topic.subject).schema
        if dataset.topic.format != "avro":
            return ()
        before = columns_of(json.loads(newest.schema_str or ""))
    except SchemaRegistryError as error:
        if error.http_status_code == _NOT_FOUND and error.error_code in _NO_SUBJECTS:
            return ()
        raise
    except (ValueError, KeyError, TypeError):  # somebody else's, which `avro_schema` would write otherwise
        return ()
    return tuple(compare_columns(before, columns_of(avro_schema(dataset))))


def _remedy(dataset: Dataset, changes: tuple[Change, ...]) -> str:
    """What to do about a change that the registry refuses, in the words of `contract diff`."""
    if dataset.topic.format == "json":
        return (
            "of a JSON Schema a registry refuses nearly all, even an optional column, which `contract diff` calls additive: messages of "
            "before might have had anything in its place. Take Avro, or plain JSON, for what is to grow, in a new topic"
        )
    told = "; ".join(f"{change.path}: {change.what}" for change in changes if change.verdict == "breaking")
    also = f"`contract diff` calls this breaking, too: {told}. " if told else ""
    return f"{also}Make the change additive, with optional columns only; or take a new topic for it"


def _version(client: SchemaRegistryClient, subject: str, schema: Schema) -> int | None:
    from confluent_kafka.schema_registry import SchemaRegistryError

    try:
        return client.lookup_schema(subject, schema).version
    except SchemaRegistryError as error:
        if error.http_status_code == _NOT_FOUND and error.error_code in _NO_SUBJECTS:
            return None
        raise
