"""What a contract means to the platform: small frozen values, no YAML and no I/O."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dagster_project.contract.quality import Breaker, Severity, Statistic, TableRule
from dagster_project.errors import ContractError

WriteMode = Literal["append", "upsert", "history"]
Format = Literal["json", "avro"]
# Of a mart that breaks a rule: cp publishes nothing of the batch, ap all but the table partitions that break it.
Consistency = Literal["cp", "ap"]
# plain: a message is its value. confluent: before it stand a zero byte and the id of its schema in the registry.
WireFormat = Literal["plain", "confluent"]
# What becomes of a column from Silver on; empty: it stays as it is.
Protection = Literal["", "pseudonymise", "drop"]

# What becomes of a row that comes later than the latest that the contract waits for.
Beyond = Literal["keep", "quarantine"]
# Who goes first where there is not enough of the machine for all.
Priority = Literal["low", "normal", "high"]
# Where a table is computed: in the run's own process, or by a job on a Spark cluster.
Engine = Literal["local", "spark"]

# Of a message that is decoded, where the contract does not say: four times what brokers take where nobody says. A message of
# which each byte is a value takes a few dozen times its size while it is decoded.
LARGEST_BYTES = 4 << 20

# Table partition columns, the same in every Bronze and Silver table.
DATE_COLUMN = "event_date"
REGION_COLUMN = "region"
# When a version of a key begins: its event time; of a delete, which has none, the time at which it was sent.
VERSION_TIME = "_version_time"
# Columns of the platform itself start with this, so that no contract column can collide with them.
RESERVED_PREFIX = "_"


@dataclass(frozen=True, kw_only=True)
class DataType:
    """Type of one column.

    Attributes:
        kind: one of `string, integer, number, decimal, boolean, date, timestamp, list, struct`.
        bits: width of an integer, 32 or 64.
        precision, scale: of a decimal.
        element: type of a list's elements.
        fields: columns of a struct.
    """

    kind: Literal["string", "integer", "number", "decimal", "boolean", "date", "timestamp", "list", "struct"]
    bits: int = 64
    precision: int = 0
    scale: int = 0
    element: DataType | None = None
    fields: tuple[Column, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """Bounds on a value; `None` means unbounded. `enum` empty means any value.

    Attributes:
        not_in_future: of a time, how far it may be after the moment at which its record was sent.
    """

    enum: tuple[str | int | float, ...] = ()
    minimum: float | str | None = None
    maximum: float | str | None = None
    exclusive_minimum: float | str | None = None
    exclusive_maximum: float | str | None = None
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    not_in_future: dt.timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column; nested ones have columns of their own in `type`.

    Attributes:
        renamed_from: its name in the major version before; messages may carry either name.
        pseudonym_domain: columns of one domain have one pseudonym for one value, whatever their dataset.
    """

    name: str
    type: DataType
    required: bool = False
    description: str = ""
    constraints: Constraints = Constraints()
    classification: str = ""
    renamed_from: str = ""
    protection: Protection = ""
    pseudonym_domain: str = ""


@dataclass(frozen=True, kw_only=True)
class SqlRule:
    """A row rule written as an SQL predicate: rows for which it is not true are quarantined."""

    id: str
    predicate: str
    severity: Severity = "error"


@dataclass(frozen=True, kw_only=True)
class Topic:
    """The Kafka topic that a contract asks for.

    Attributes:
        retention: how long the broker keeps events.
        max_message_bytes: the largest batch of a producer that the broker takes, and the largest message that is decoded, as
            batches are compressed; `None` leaves it to the cluster, and to `LARGEST_BYTES`.
        format, wire_format: how values are spelled in messages.
    """

    name: str
    partitions: int
    replication_factor: int
    min_insync_replicas: int
    retention: dt.timedelta
    cleanup_policy: Literal["delete", "compact"] = "delete"
    max_message_bytes: int | None = None
    format: Format = "json"
    wire_format: WireFormat = "plain"

    @property
    def largest_bytes(self) -> int:
        """Of a message that is decoded; a larger one is poison."""
        return self.max_message_bytes or LARGEST_BYTES

    @property
    def subject(self) -> str:
        """What the registry calls the schema of the topic's values, as Confluent's clients name it by default."""
        return f"{self.name}-value"


@dataclass(frozen=True, kw_only=True)
class Slo:
    """What a dataset promises, which shares of it must hold, and how long Bronze is kept.

    Attributes:
        freshness: how old the newest event of a region may be.
        lag, lag_records: how long the oldest record of the topic may wait to be read, and how many may; `None`: any number.
        latency_p50, latency_p95, latency: within what half of the events, 95 and 99 in a hundred are visible in Gold.
        completeness: share of what was received that is published.
        availability: share of moments at which a region can be read, and is fresh.
        freshness_target, lag_target: share of moments at which these hold.
        window: over which a share is reckoned; what may be missing from it is the error budget.
    """

    freshness: dt.timedelta = dt.timedelta(hours=1)
    freshness_target: float = 0.99
    lag: dt.timedelta = dt.timedelta(minutes=5)
    lag_records: int | None = None
    lag_target: float = 0.99
    latency_p50: dt.timedelta = dt.timedelta(minutes=1)
    latency_p95: dt.timedelta = dt.timedelta(minutes=2)
    latency: dt.timedelta = dt.timedelta(minutes=5)
    completeness: float = 0.999
    availability: float = 0.995
    window: dt.timedelta = dt.timedelta(days=28)
    retention: dt.timedelta = dt.timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class HotKeys:
    """A column of which few values may have a large share of the rows.

    Attributes:
        column: the Kafka key of the events.
        values: known to be hot; producers spread their events by a salt.
        salts: how many Kafka keys each of them has.
    """

    column: str
    values: tuple[str, ...] = ()
    salts: int = 8


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A Kafka topic and the Bronze and Silver tables that come from it.

    Attributes:
        merge_key: columns that identify a row, in key order.
        event_time: column that orders versions and measures lateness.
        rules: SQL predicates that each row is judged by.
        table_rules: what is measured of a table partition before it is published.
        statistics: what it is compared with before it is published.
        allowed_lateness: how far behind the newest event of its Kafka partition and region an event is still in time.
        lateness_horizon: how far behind it is beyond what the dataset reckons with; `None`: never.
        beyond_horizon: what becomes of such a row.
        idle_after: how far behind its region's others a Kafka partition is idle, and behind the others a region silent.
        max_bad_rate: share of rows that may break a row rule before the dataset is called unhealthy.
        partition_time: column whose UTC date is the table partition; the event time unless the contract says otherwise.
        stable_partitions: what has the same identity is in the same table partition, so a merge looks only there.
        region: column whose value is the table partition's region; one of `regions`.
        hot_keys: a column that is watched for uneven values; `None`: nothing is counted.
        priority: of its runs; low ones wait for a while when another dataset falls behind.
        shards: how many runs read the topic at once, each its share of the Kafka partitions.
    """

    name: str
    version: str
    description: str
    domain: str
    owners: tuple[str, ...]
    source: Path
    topic: Topic
    columns: tuple[Column, ...]
    merge_key: tuple[str, ...]
    event_time: str
    partition_time: str
    stable_partitions: bool
    region: str
    regions: tuple[str, ...]
    start_date: dt.date
    write_mode: WriteMode
    allowed_lateness: dt.timedelta
    rules: tuple[SqlRule, ...]
    max_bad_rate: float
    slo: Slo
    table_rules: tuple[TableRule, ...] = ()
    statistics: tuple[Statistic, ...] = ()
    breaker: Breaker = field(default_factory=Breaker)
    lateness_horizon: dt.timedelta | None = None
    beyond_horizon: Beyond = "keep"
    idle_after: dt.timedelta = dt.timedelta(minutes=10)
    hot_keys: HotKeys | None = None
    priority: Priority = "normal"
    shards: int = 1

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def identity(self) -> tuple[str, ...]:
        """Columns that no two rows of Silver have alike: the merge key; of a history also the version's time and region.

        A delete has no region, so it stands beside an event of the same moment.
        """
        if self.write_mode != "history":
            return self.merge_key
        return tuple(dict.fromkeys((*self.merge_key, VERSION_TIME, self.region)))

    @property
    def routing(self) -> tuple[str, ...]:
        """Columns that key, order and place rows: the same in all major versions."""
        return tuple(dict.fromkeys((*self.merge_key, self.event_time, self.partition_time, self.region)))

    @property
    def major(self) -> int:
        """The major version; 0 where the version says none."""
        return major_of(self.version)

    @property
    def table(self) -> str:
        """Name of the tables that are this major version's own, Silver and quarantine, such as `orders_v2`.

        A contract whose messages name schemas evolves in the registry, and keeps its tables.
        """
        return self.name if self.topic.wire_format == "confluent" else table_of(self.name, self.major)

    @property
    def reads_payloads(self) -> bool:
        """Whether Silver decodes Bronze's payloads itself: what is typed there may be another major version's."""
        return self.table != self.name

    @property
    def quarantined_from(self) -> dt.timedelta | None:
        """How late a row is quarantined for it; `None`: never."""
        return self.lateness_horizon if self.beyond_horizon == "quarantine" else None

    @property
    def protected(self) -> tuple[Column, ...]:
        """Columns that only Bronze and quarantine have in the clear."""
        return tuple(column for column in self.columns if column.protection)

    @property
    def published(self) -> tuple[Column, ...]:
        """Columns as they are from Silver on. Row rules have judged the values; what replaces them has none."""
        return tuple(
            replace(column, type=DataType(kind="string"), constraints=Constraints()) if column.protection else column
            for column in self.columns
            if column.protection != "drop"
        )


def major_of(version: str) -> int:
    """The major version that a version belongs to; 0 where it names none."""
    digits = version.lstrip("v").partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def table_of(name: str, major: int) -> str:
    """Name of the Silver and quarantine tables of one major version of a dataset."""
    return name if major <= 1 else f"{name}_v{major}"


@dataclass(frozen=True, kw_only=True)
class MartInput:
    """What a mart reads.

    Attributes:
        name: of a dataset, `silver.<name>` in the SQL, or of another mart, `gold.<name>`.
        before_days, after_days: days before and after its own that a table partition of the mart reads, too.
    """

    name: str
    kind: Literal["dataset", "mart"] = "dataset"
    before_days: int = 0
    after_days: int = 0

    @property
    def table(self) -> str:
        """Layer and name, as tables are looked up: `silver/orders`, whichever major version serves."""
        return f"{'silver' if self.kind == 'dataset' else 'gold'}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Conformed:
    """A column of a mart that is the same as one of another mart.

    Of a dimension, which has no table partitions, it is a key: each value is there. Of any other mart it is a measure: over
    the key columns that both marts have it adds up to the same.
    """

    column: str
    mart: str
    to: str


@dataclass(frozen=True, kw_only=True)
class Serve:
    """What the cache has of a mart.

    Attributes:
        ttl: how long after it was last found to be as new as Gold.
        max_rows: of the newest days, as many as fit.
    """

    ttl: dt.timedelta
    max_rows: int = 10_000


@dataclass(frozen=True, kw_only=True)
class Mart:
    """A Gold table: SQL over Silver and other marts, recomputed for whole table partitions.

    Attributes:
        inputs: what it reads; empty for a fixed dimension, which only its SQL changes.
        partitioned_by: `(event_date, region)`, `(event_date,)`, or `()` for a dimension, which is replaced as a whole.
        regions: of its table partitions; empty where it is not partitioned by region.
        start_date: the first day that may have rows; `None` of a dimension.
        days_ahead: days after the last one of its datasets that may have rows.
        validity: columns from when and until when a row of a dimension holds; empty where it has no history.
        window: the step of the watermark that its rows depend on; `None` where they do not.
        conformed: keys and measures that it shares with other marts.
        consistency: what becomes of a batch in which a rule is broken.
        append_only: rows that were published stay, unchanged.
        rules: what is measured of staged rows before they are published.
        serve: what the cache has of it; `None`: nothing.
        engine: what computes it.
    """

    name: str
    version: str
    description: str
    domain: str
    owners: tuple[str, ...]
    source: Path
    sql: str
    inputs: tuple[MartInput, ...]
    columns: tuple[Column, ...]
    merge_key: tuple[str, ...]
    partitioned_by: tuple[str, ...]
    freshness: dt.timedelta
    regions: tuple[str, ...] = ()
    start_date: dt.date | None = None
    days_ahead: int = 0
    validity: tuple[str, ...] = ()
    window: dt.timedelta | None = None
    conformed: tuple[Conformed, ...] = ()
    consistency: Consistency = "ap"
    append_only: bool = False
    rules: tuple[TableRule, ...] = ()
    serve: Serve | None = None
    engine: Engine = "local"

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of the datasets among its inputs."""
        return tuple(item.name for item in self.inputs if item.kind == "dataset")

    @property
    def reads_beside(self) -> bool:
        """Whether a day of it is computed from the days before or after, too."""
        return any(item.before_days or item.after_days for item in self.inputs)

    @property
    def marts(self) -> tuple[str, ...]:
        """Names of the marts among its inputs."""
        return tuple(item.name for item in self.inputs if item.kind == "mart")


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All contracts of a project.

    Attributes:
        datasets: one for each name; of two major versions the older one, which types Bronze.
        successors: newer major versions of some of them.
        marts: each after those that it reads.
    """

    datasets: tuple[Dataset, ...] = field(default=())
    successors: tuple[Dataset, ...] = field(default=())
    marts: tuple[Mart, ...] = field(default=())

    def dataset(self, name: str) -> Dataset:
        """The dataset of this name, or the major version whose tables have it.

        Raises:
            ContractError: no contract has it.
        """
        for dataset in self.datasets:
            if dataset.name == name:
                return dataset
        for dataset in (*self.datasets, *self.successors):
            if dataset.table == name:
                return dataset
        raise ContractError(
            f"no dataset {name!r}",
            expected="one of " + ", ".join(dataset.name for dataset in self.datasets),
            remedy="add its contract, or set LAKEHOUSE_PROJECT to the folder that has it",
        )

    def versions(self, name: str) -> tuple[Dataset, ...]:
        """The major versions of a dataset, the older first: one, or two while a release is under way.

        Raises:
            ContractError: no contract has the name.
        """
        return (self.dataset(name), *(dataset for dataset in self.successors if dataset.name == name))

    def names(self) -> tuple[str, ...]:
        """Of all datasets."""
        return tuple(dataset.name for dataset in self.datasets)

    def every_version(self) -> tuple[Dataset, ...]:
        """All datasets, and the newer major versions of some of them."""
        return (*self.datasets, *self.successors)

    def mart(self, name: str) -> Mart:
        """The mart of this name.

        Raises:
            ContractError: no contract has it.
        """
        for mart in self.marts:
            if mart.name == name:
                return mart
        raise ContractError(
            f"no mart {name!r}",
            expected="one of " + ", ".join(mart.name for mart in self.marts),
            remedy="add its contract, or set LAKEHOUSE_PROJECT to the folder that has it",
        )

    def origins(self, mart: Mart) -> frozenset[str]:
        """The datasets that a mart comes from, also through other marts."""
        above = (self.origins(self.mart(name)) for name in mart.marts)
        return frozenset(mart.datasets).union(*above)

    def marts_of(self, dataset: str) -> tuple[Mart, ...]:
        """Marts that read this dataset, also through other marts; each after those that it reads."""
        return tuple(mart for mart in self.marts if dataset in self.origins(mart))

    def readers(self, mart: str) -> tuple[Mart, ...]:
        """Marts that read this one, also through others; each after those that it reads."""
        found = {mart}
        for item in self.marts:
            if found.intersection(item.marts):
                found.add(item.name)
        return tuple(item for item in self.marts if item.name in found - {mart})
