"""One Delta table: its files, its rows, its cursors, and the single way to commit."""

from __future__ import annotations

import datetime as dt
import functools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import fsspec
import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.table import ProtocolVersions
from deltalake.transaction import AddAction, RemoveAction

from dagster_project.errors import LakeError, OvertakenError, StaleCursorError
from dagster_project.lake import meter
from dagster_project.lake.actions import spelled
from dagster_project.lake.columns import of_delta, strangers, to_delta, together
from dagster_project.lake.files import write_files
from dagster_project.lake.head import Head, HeadReader
from dagster_project.lake.log import Commit, commits, path_of
from dagster_project.lake.storage import Layer, Storage, denied, is_refusal
from dagster_project.telemetry.spans import TRACEPARENT, traceparent

_LOGGER = logging.getLogger(__name__)
# Of two commits that remove the same file the second would add its rows twice, unless both move one cursor.
_REMOVALS = "removals"
# Whoever opens a table reads the commits since the last checkpoint, at some 20 ms each on a store; of Delta's usual 100
# that would be a second in the mean. A checkpoint of a thousand files takes some 20 ms.
_CHECKPOINT_EVERY = 20
_CONFIGURATION = {"delta.checkpointInterval": str(_CHECKPOINT_EVERY)}
# Features of tables beyond these versions of the protocol would have to be observed by whoever commits.
_READER_VERSION, _WRITER_VERSION = 1, 2
# By table, what was listed last: sensors look again and again, mostly at what they know.
_LISTINGS: dict[str, _Listing] = {}


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """Files and columns of a version, which its digest names."""

    digest: bytes
    files: pl.DataFrame
    columns: Mapping[str, pl.DataType]


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
def _head_reader(root: str) -> HeadReader:
    """One reader for each lake in the process, so that a standing process reads each commit once."""
    return HeadReader(Storage.at(root).filesystem())


class Table:
    """A table at one version; `refresh` moves on to the newest.

    Cursors and commits need the newest commits alone. The list of files, which takes as long as it is, is read by
    delta-rs when it is first asked for.
    """

    def __init__(self, spec: TableSpec, *, storage: Storage, head: Head) -> None:
        self.spec = spec
        self.uri = storage.table(spec.layer, spec.name)
        self._storage = storage
        self._head = head
        self._delta: DeltaTable | None = None
        self._filesystem = storage.filesystem()

    @classmethod
    def find(cls, spec: TableSpec, *, storage: Storage) -> Table | None:
        """The table, or `None` while nothing was ever written.

        Raises:
            LakeError: the store cannot be read.
        """
        head = _newest(spec, storage)
        if head is None:
            storage.check()
            return None
        return cls(spec, storage=storage, head=head)

    @classmethod
    def open(cls, spec: TableSpec, *, storage: Storage) -> Table:
        """The table, created if need be, with the columns and nested fields that its contract has gained since.

        Raises:
            LakeError: the store cannot be written, or a column's type is not the contract's.
        """
        table = cls.find(spec, storage=storage)
        if table is None:
            try:
                DeltaTable.create(
                    storage.table(spec.layer, spec.name),
                    schema=to_delta(spec.schema),
                    mode="ignore",  # two first writers may race; both then find the same table
                    partition_by=list(spec.partition_by),
                    configuration=_CONFIGURATION,
                    name=f"{spec.layer}.{spec.name}",
                    description=spec.description,
                    storage_options=dict(storage.options) or None,
                )
            except (DeltaError, OSError) as error:
                if is_refusal(error):
                    raise denied(f"make {storage.table(spec.layer, spec.name)}", error) from error
                raise
            head = _newest(spec, storage)
            assert head is not None, f"{spec.layer}/{spec.name} was made and is not there"
            table = cls(spec, storage=storage, head=head)
        table._evolve()
        return table

    def _evolve(self) -> None:
        while True:
            stored = of_delta(self.delta.schema())
            for name in strangers(self.spec.schema, stored):
                raise LakeError(
                    f"{self.spec.layer}/{self.spec.name}: column {name} is {stored[name]}",
                    expected=f"{self.spec.schema[name]}, as in the contract",
                    remedy="give the new type to a new column, or to a new major version of the contract",
                )
            wanted = together(self.spec.schema, stored)
            added = {name: dtype for name, dtype in wanted.items() if stored.get(name) != dtype}
            if not added:
                return
            read = self.version
            try:
                self.delta.alter.add_columns(to_delta(added).fields)
            except (DeltaError, OSError) as error:
                # Another run may have added the same ones, or others, in this moment.
                self.refresh()
                if self.version == read:
                    raise LakeError(
                        f"{self.spec.layer}/{self.spec.name}: columns {', '.join(added)} cannot be added: {error}",
                        remedy="check the store; nothing was written, the next run starts from the committed state",
                    ) from error
            else:
                self.refresh()

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """Columns of `rows`: those of the spec, with what only other versions of its contract have, and keep, in them."""
        return together(self.spec.schema, self._listing().columns)

    @property
    def version(self) -> int:
        return self._head.version

    @property
    def digest(self) -> bytes:
        """Names this version, and tells it from the same version of a table that was made anew."""
        return self._head.digest

    @property
    def created_ms(self) -> int:
        """When the table was made, since the epoch; of one that was made anew later than before.

        Raises:
            LakeError: as of `delta`.
        """
        return self.delta.metadata().created_time

    def committed_at(self) -> dt.datetime:
        """When this version was committed.

        Raises:
            LakeError: the log no longer has it.
        """
        try:
            (commit,) = self.commits(self.version)
        except FileNotFoundError as error:
            raise _unreadable(self.spec, self._storage, error) from error
        return dt.datetime.fromtimestamp(commit.timestamp_ms / 1000, dt.UTC)

    @property
    def delta(self) -> DeltaTable:
        """This version as delta-rs sees it, with its list of files.

        Raises:
            LakeError: the log is not whole, it has features that are unknown here, or the store cannot be read.
        """
        delta = self._delta
        try:
            if delta is None:
                options = dict(self._storage.options) or None
                delta = DeltaTable(self.uri, version=self.version, storage_options=options)
                meter.opened(self.version % _CHECKPOINT_EVERY + 1)
                self._check(delta.protocol())
                self._delta = delta
            elif delta.version() != self.version:
                meter.opened(self.version - delta.version())
                delta.update_incremental()
                if delta.version() != self.version:  # other writers have gone on since
                    delta.load_as_version(self.version)
        except (DeltaError, OSError) as error:
            raise _unreadable(self.spec, self._storage, error) from error
        return delta

    def _check(self, protocol: ProtocolVersions) -> None:
        if protocol.min_reader_version > _READER_VERSION or protocol.min_writer_version > _WRITER_VERSION:
            raise LakeError(
                f"{self.spec.layer}/{self.spec.name} asks for a reader of version {protocol.min_reader_version} and "
                f"a writer of version {protocol.min_writer_version}",
                expected=f"versions {_READER_VERSION} and {_WRITER_VERSION} of the Delta protocol",
                remedy="take the table features away again that another tool has set on it",
            )

    @property
    def filesystem(self) -> fsspec.AbstractFileSystem:
        return self._filesystem

    def refresh(self) -> None:
        """Move on to the newest version.

        Raises:
            LakeError: the store cannot be read, or the table is no more.
        """
        head = _newest(self.spec, self._storage)
        if head is None:
            raise LakeError(
                f"{self.spec.layer}/{self.spec.name} is no more",
                expected="a table that nobody takes away while it is in use",
                remedy="nothing, if it was retired: the next run begins it anew",
            )
        if head.version <= self.version and head.digest != self._head.digest:
            self._delta = None  # the table was made anew, and its files are others
        self._head = head

    def cursors(self) -> Mapping[str, int]:
        """Everything that this version was computed from, by cursor name."""
        return self._head.cursors

    def commits(self, first: int = 0, last: int | None = None) -> Iterator[Commit]:
        """Commits from a version on, to another one or this one."""
        return commits(self._filesystem, self.uri, first, self.version if last is None else last)

    def first_commit(self) -> int:
        """The oldest version that the log still spells out."""
        names = map(str, self._filesystem.glob(f"{self.uri}/_delta_log/*.json"))
        return min(int(name.rpartition("/")[2].removesuffix(".json")) for name in names)

    def files(self) -> pl.DataFrame:
        """One row a file: `path, size_bytes, num_records`, the partition columns, `min.` and `max.` of the statistics."""
        return self._listing().files

    def _listing(self) -> _Listing:
        known = _LISTINGS.get(self.uri)
        if known is None or known.digest != self._head.digest:
            columns = of_delta(self.delta.schema())
            known = _Listing(digest=self._head.digest, files=self._listed(), columns=columns)
            _LISTINGS[self.uri] = known
        return known

    def _listed(self) -> pl.DataFrame:
        found = pl.DataFrame(self.delta.get_add_actions(flatten=True))
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
        files, schema = self.files() if files is None else files, self.schema
        if files.is_empty():
            return pl.LazyFrame(schema={**schema, **({"_path": pl.String} if with_path else {})})
        meter.scanned(len(files), int(files["size_bytes"].sum()))
        prefix = f"{self.uri}/"
        frame = pl.scan_parquet(
            [prefix + unquote(path) for path in files["path"]],
            schema={name: dtype for name, dtype in schema.items() if name not in self.spec.partition_by},
            hive_partitioning=bool(self.spec.partition_by),
            hive_schema={name: self.spec.schema[name] for name in self.spec.partition_by} or None,
            missing_columns="insert",  # files older than a column that the contract has gained
            cast_options=pl.ScanCastOptions(missing_struct_fields="insert"),
            include_file_paths="_path" if with_path else None,
            storage_options=dict(self._storage.options) or None,
        )
        return frame.with_columns(pl.col("_path").str.strip_prefix(prefix)) if with_path else frame

    def commit(
        self,
        rows: pl.DataFrame | Iterable[pl.DataFrame],
        *,
        cursors: Mapping[str, int],
        rising: Mapping[str, int] | None = None,
        marks: Iterable[str] = (),
        files: Iterable[AddAction] = (),
        remove: pl.DataFrame | None = None,
        metadata: Mapping[str, Any] | None = None,
        data_change: bool = True,
    ) -> int:
        """Add rows, remove files and move cursors, all or nothing, against the version that this handle has read.

        Args:
            rows: columns of the spec, in any order, and any others that the table has; may be empty. Of several frames no
                two are held at a time.
            rising: cursors that writers share, each of which moves them on: to values beyond those that this handle has read.
            marks: cursors that get the version which this commit becomes.
            files: that somebody else has written below the table, and no commit has added yet.
            remove: files to take out, rows of `files()`.
            metadata: goes into the commit for people to read; nothing depends on it.
            data_change: whether the rows differ from those that are removed; false where only files are laid out anew.

        Returns:
            The new version.

        Raises:
            StaleCursorError: another writer committed something that this one had not read; nothing was written.
            OvertakenError: another writer has moved a rising cursor as far, or further; nothing was written.
        """
        rising = rising or {}
        adds = [
            action
            for frame in ([rows] if isinstance(rows, pl.DataFrame) else rows)
            for action in write_files(
                self._fitting(frame),
                filesystem=self._filesystem,
                uri=self.uri,
                partition_by=self.spec.partition_by,
                statistics=self.spec.statistics,
                own_statistics=self.spec.own_statistics,
                data_change=data_change,
            )
        ]
        if self.spec.many_writers and remove is not None and not remove.is_empty():
            cursors = {**cursors, _REMOVALS: self.version}
        commit_id = uuid.uuid4().hex
        actions = [*adds, *files, *self._removals(remove, data_change=data_change)]
        named = tuple(marks)
        told = {"run_id": self._storage.run_id} if self._storage.run_id else {}
        if text := traceparent():
            told[TRACEPARENT] = text

        def content(version: int) -> bytes:
            return spelled(
                actions,
                cursors={**rising, **cursors, **dict.fromkeys(named, version)},
                partition_by=self.spec.partition_by,
                info={"commit_id": commit_id, **told, **{name: str(value) for name, value in (metadata or {}).items()}},
            )

        version = self._publish(content, commit_id, {*cursors, *named}, rising)
        if version % _CHECKPOINT_EVERY == 0:
            # Beside what comes next, by a handle of its own: on a table of ten thousand files it takes as long as ten
            # commits. The process does not end before it; after a kill a later one, or the nightly upkeep, stands in.
            beside = Table(self.spec, storage=self._storage, head=self._head)
            threading.Thread(target=beside._checkpoint, name=f"checkpoint-{self.spec.name}").start()
        return version

    def _fitting(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows in the table's columns and types."""
        # Where there is nothing of another contract in the rows, the table's own columns need not be looked up.
        own = dict(rows.schema) == dict(self.spec.schema)
        schema = self.spec.schema if own else self.schema
        return rows.select(
            pl.col(name).cast(dtype)
            for name, dtype in schema.items()
            if name in self.spec.schema or name in rows.columns
        )

    def _publish(
        self, content: Callable[[int], bytes], commit_id: str, cursors: set[str], rising: Mapping[str, int]
    ) -> int:
        """Write a commit after the version that this handle has read, and read on; returns the commit's own version."""
        read = self.version
        while True:
            error: Exception | None = None
            try:
                self._storage.create(path_of(self.uri, self.version + 1), content(self.version + 1))
            except Exception as raised:  # noqa: BLE001 botocore, aiohttp and s3fs raise many unrelated kinds
                error = raised
            tried = self.version + 1
            self.refresh()
            if error is None:
                return tried
            # An error does not mean "not committed": the answer may have been lost. Nor does it mean that the place was
            # free, and whose commit it holds is in the log.
            rivals = list(self.commits(tried))
            for rival in rivals:
                if rival.info.get("commit_id") == commit_id:
                    return rival.version
            if not rivals:
                if is_refusal(error):
                    raise denied(f"commit to {self.uri}", error) from error
                raise LakeError(
                    f"{self.spec.layer}/{self.spec.name}: commit after version {read} failed: {error}",
                    remedy="check the store; nothing was written, the next run starts from the committed state",
                ) from error
            # Those that added a column leave every row as it was; what is to be written lacks it, that is all.
            writers = [rival for rival in rivals if not rival.only_columns]
            if any(not self.spec.many_writers or rival.upgrade or rival.cursors.keys() & cursors for rival in writers):
                raise StaleCursorError(
                    f"{self.spec.layer}/{self.spec.name}: another writer committed after version {read}",
                    expected="to be the only writer of these cursors; nothing was written",
                    remedy="nothing: the next run starts from the committed state",
                ) from error
            self._check_not_overtaken(rising)

    def _check_not_overtaken(self, rising: Mapping[str, int]) -> None:
        for name, value in rising.items():
            if (reached := self.cursors().get(name, value - 1)) >= value:
                raise OvertakenError(
                    f"{self.spec.layer}/{self.spec.name}: another writer has moved {name} to {reached}",
                    expected=f"less than {value}; nothing was written",
                    remedy="nothing: it is tried again beyond that",
                )

    def _checkpoint(self) -> None:
        try:
            self.delta.create_checkpoint()
            meter.checkpointed()
        except (DeltaError, OSError, LakeError) as error:
            # Readers only take longer without it, and the commit that it follows is made.
            _LOGGER.warning("no checkpoint of %s/%s: %s", self.spec.layer, self.spec.name, error)

    def _removals(self, files: pl.DataFrame | None, *, data_change: bool) -> Iterable[RemoveAction]:
        if files is None:
            return
        meter.removed(int(files["size_bytes"].sum()))
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


def traces(*tables: Table) -> Iterator[str]:
    """Trace contexts of the commits that made these versions, where they were recorded. Reads nothing before it is asked."""
    for table in tables:
        for commit in table.commits(table.version):
            if text := commit.info.get(TRACEPARENT):
                yield text


def _newest(spec: TableSpec, storage: Storage) -> Head | None:
    try:
        return _head_reader(storage.uri).newest(storage.table(spec.layer, spec.name))
    except LakeError:
        raise
    except Exception as error:  # botocore, aiohttp and s3fs raise many unrelated kinds
        raise _unreadable(spec, storage, error) from error


def _unreadable(spec: TableSpec, storage: Storage, error: Exception) -> LakeError:
    """What is wrong with a table that cannot be read.

    Raises:
        LakeError: the whole lake cannot.
    """
    storage.check()
    if is_refusal(error):
        return denied(f"read {storage.table(spec.layer, spec.name)}", error)
    reason = str(error).partition("\n")[0]  # below it is a backtrace of delta-rs
    return LakeError(
        f"{spec.layer}/{spec.name} cannot be read: {reason}",
        expected="a Delta table whose log is whole",
        remedy=f"look at the store's own log, and at {storage.table(spec.layer, spec.name)}/_delta_log",
    )
