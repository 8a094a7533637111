"""One Delta table: its files, its rows, its cursors, and the single way to commit."""

from __future__ import annotations

import functools
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import PostCommitHookProperties, RemoveAction

from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.lake.files import write_files
from dagster_project.lake.log import Commit, CursorReader, commits
from dagster_project.lake.storage import Layer, Storage

# delta-rs lets two commits remove the same file and add its rows twice, unless both move one cursor.
_REMOVALS = "removals"
# Whoever opens a table reads the commits since the last checkpoint, at some 20 ms each on a store; of the default of 100
# that would be a second in the mean. A checkpoint of a thousand files takes some 20 ms.
_CONFIGURATION = {"delta.checkpointInterval": "20"}
# Cleaning up expired commits lists the whole log at each commit; maintenance does it off the hot path.
_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False)


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """What a table must look like: its place, its columns in order, and how it is laid out.

    Attributes:
        statistics: columns whose bounds go into the log for each file.
        own_statistics: whether the files have bounds of all columns, too. Bounds of payloads cost much and help nobody.
        many_writers: appends of other writers may come between reading and committing. Where not, a commit is refused
            unless it is the very next version, so a cursor may name the version that it is committed as.
    """

    layer: Layer
    name: str
    schema: Mapping[str, pl.DataType]
    partition_by: tuple[str, ...]
    statistics: tuple[str, ...] = ()
    own_statistics: bool = True
    many_writers: bool = False
    description: str = ""


@functools.cache
def _cursor_reader(root: str) -> CursorReader:
    """One reader for each lake in the process, so that a standing process reads each commit once."""
    return CursorReader(Storage.at(root).filesystem())


class Table:
    """A table at one version; `refresh` moves on to the newest."""

    def __init__(self, spec: TableSpec, *, storage: Storage, delta: DeltaTable) -> None:
        self.spec = spec
        self.uri = storage.table(spec.layer, spec.name)
        self._storage = storage
        self._delta = delta
        self._filesystem = storage.filesystem()

    @classmethod
    def find(cls, spec: TableSpec, *, storage: Storage) -> Table | None:
        """The table, or `None` while nothing was ever written.

        Raises:
            LakeError: the store cannot be read.
        """
        try:
            delta = DeltaTable(storage.table(spec.layer, spec.name), storage_options=dict(storage.options) or None)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            storage.check()
            reason = str(error).partition("\n")[0]  # below it is a backtrace of delta-rs
            raise LakeError(
                f"{spec.layer}/{spec.name} cannot be read: {reason}",
                expected="a Delta table whose log is whole",
                remedy=f"look at the store's own log, and at {storage.table(spec.layer, spec.name)}/_delta_log",
            ) from error
        return cls(spec, storage=storage, delta=delta)

    @classmethod
    def open(cls, spec: TableSpec, *, storage: Storage) -> Table:
        """The table, created if need be, with the columns that its contract has gained since.

        Raises:
            LakeError: the store cannot be written, or a column's type is not the contract's.
        """
        table = cls.find(spec, storage=storage)
        if table is None:
            storage.check()
            delta = DeltaTable.create(
                storage.table(spec.layer, spec.name),
                schema=_delta_schema(spec.schema),
                mode="ignore",  # two first writers may race; both then find the same table
                partition_by=list(spec.partition_by),
                configuration=_CONFIGURATION,
                name=f"{spec.layer}.{spec.name}",
                description=spec.description,
                storage_options=dict(storage.options) or None,
            )
            table = cls(spec, storage=storage, delta=delta)
        table._evolve()
        return table

    def _evolve(self) -> None:
        present = {field.name: field for field in self._delta.schema().fields}
        wanted = {field.name: field for field in _delta_schema(self.spec.schema).fields}
        for name, field in wanted.items():
            if name in present and present[name].type != field.type:
                raise LakeError(
                    f"{self.spec.layer}/{self.spec.name}: column {name} is {present[name].type}",
                    expected=f"{field.type}, as in the contract",
                    remedy="give the new type to a new column, or to a new major version of the contract",
                )
        if added := [field for name, field in wanted.items() if name not in present]:
            self._delta.alter.add_columns(added)
            self.refresh()

    @property
    def version(self) -> int:
        return self._delta.version()

    @property
    def delta(self) -> DeltaTable:
        return self._delta

    def refresh(self) -> None:
        self._delta.update_incremental()

    def cursors(self) -> Mapping[str, int]:
        """Everything that this version was computed from, by cursor name."""
        table_id = str(self._delta.metadata().id)
        return _cursor_reader(self._storage.uri).cursors(uri=self.uri, table_id=table_id, version=self.version)

    def commits(self, first: int = 0) -> Iterator[Commit]:
        """Commits from a version on to this one."""
        return commits(self._filesystem, self.uri, first, self.version)

    def first_commit(self) -> int:
        """The oldest version that the log still spells out."""
        names = map(str, self._filesystem.glob(f"{self.uri}/_delta_log/*.json"))
        return min(int(name.rpartition("/")[2].removesuffix(".json")) for name in names)

    def files(self) -> pl.DataFrame:
        """One row a file: `path, size_bytes, num_records`, the partition columns, `min.` and `max.` of the statistics."""
        found = pl.DataFrame(self._delta.get_add_actions(flatten=True))
        schema: dict[str, pl.DataType] = {"path": pl.String(), "size_bytes": pl.Int64(), "num_records": pl.Int64()}
        sources = {name: name for name in schema}
        for name in self.spec.partition_by:
            schema[name], sources[name] = self.spec.schema[name], f"partition.{name}"
        for name in (f"{bound}.{column}" for column in self.spec.statistics for bound in ("min", "max")):
            schema[name], sources[name] = self.spec.schema[name.partition(".")[2]], name
        # delta-rs leaves a column out where no file has a value in it.
        return found.select(
            (pl.col(sources[name]) if sources[name] in found.columns else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in schema.items()
        )

    def rows(self, files: pl.DataFrame | None = None, *, with_path: bool = False) -> pl.LazyFrame:
        """Rows of the given files, rows of `files()`, or of the whole table.

        Args:
            with_path: add a column `_path`, the file that each row is in, as `files()` names it.
        """
        files = self.files() if files is None else files
        if files.is_empty():
            return pl.LazyFrame(schema={**self.spec.schema, **({"_path": pl.String} if with_path else {})})
        prefix = f"{self.uri}/"
        frame = pl.scan_parquet(
            [prefix + unquote(path) for path in files["path"]],
            schema={name: dtype for name, dtype in self.spec.schema.items() if name not in self.spec.partition_by},
            hive_partitioning=True,
            hive_schema={name: self.spec.schema[name] for name in self.spec.partition_by},
            missing_columns="insert",  # files older than a column that the contract has gained
            extra_columns="ignore",  # files with a column that the contract has dropped
            include_file_paths="_path" if with_path else None,
            storage_options=dict(self._storage.options) or None,
        )
        return frame.with_columns(pl.col("_path").str.strip_prefix(prefix)) if with_path else frame

    def commit(
        self,
        rows: pl.DataFrame,
        *,
        cursors: Mapping[str, int],
        remove: pl.DataFrame | None = None,
        metadata: Mapping[str, Any] | None = None,
        data_change: bool = True,
    ) -> int:
        """Add rows, remove files and move cursors, all or nothing, against the version that this handle has read.

        Args:
            rows: columns of the table's schema, in any order; may be empty.
            remove: files to take out, rows of `files()`.
            metadata: goes into the commit for people to read; nothing depends on it.
            data_change: whether the rows differ from those that are removed; false where only files are laid out anew.

        Returns:
            The new version.

        Raises:
            StaleCursorError: another writer committed something that this one had not read; nothing was written.
        """
        frame = rows.select(pl.col(name).cast(dtype) for name, dtype in self.spec.schema.items())
        adds = write_files(
            frame,
            filesystem=self._filesystem,
            uri=self.uri,
            partition_by=self.spec.partition_by,
            statistics=self.spec.statistics,
            own_statistics=self.spec.own_statistics,
            data_change=data_change,
        )
        if self.spec.many_writers and remove is not None and not remove.is_empty():
            cursors = {**cursors, _REMOVALS: self.version}
        commit_id = uuid.uuid4().hex
        try:
            self._delta.create_write_transaction(
                [*adds, *self._removals(remove, data_change=data_change)],
                "append",
                self._delta.schema(),
                partition_by=list(self.spec.partition_by),
                commit_properties=CommitProperties(
                    custom_metadata={
                        "commit_id": commit_id,
                        **{name: str(value) for name, value in (metadata or {}).items()},
                    },
                    app_transactions=[Transaction(name, value) for name, value in cursors.items()],
                    max_commit_retries=None if self.spec.many_writers else 0,
                ),
                post_commithook_properties=_HOOKS,
            )
        except (DeltaError, OSError) as error:
            # An error does not mean "not committed": the answer may have been lost, or a hook have failed afterwards.
            read = self.version
            self.refresh()
            if any(commit.info.get("commit_id") == commit_id for commit in self.commits(read + 1)):
                return self.version
            if isinstance(error, CommitFailedError):
                raise StaleCursorError(
                    f"{self.spec.layer}/{self.spec.name}: another writer committed after version {read}",
                    expected="to be the only writer of these cursors; nothing was written",
                    remedy="nothing: the next run starts from the committed state",
                ) from error
            raise LakeError(
                f"{self.spec.layer}/{self.spec.name}: commit after version {read} failed: {error}",
                remedy="check the store; nothing was written, the next run starts from the committed state",
            ) from error
        self.refresh()
        return self.version

    def _removals(self, files: pl.DataFrame | None, *, data_change: bool) -> Iterable[RemoveAction]:
        if files is None:
            return
        now = int(time.time() * 1000)
        for file in files.iter_rows(named=True):
            values = {name: None if file[name] is None else str(file[name]) for name in self.spec.partition_by}
            yield RemoveAction(
                path=file["path"],
                data_change=data_change,
                deletion_timestamp=now,
                size=file["size_bytes"],
                partition_values=values,
            )


def _delta_schema(schema: Mapping[str, pl.DataType]) -> Schema:
    # Nullable throughout: what must not be null is a row rule, judged before the commit and explained to people.
    return Schema.from_arrow(pl.DataFrame(schema=dict(schema)).to_arrow(compat_level=pl.CompatLevel.oldest()).schema)
