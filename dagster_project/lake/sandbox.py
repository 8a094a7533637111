"""DuckDB for SQL that a person wrote into a contract or a command: it sees the tables it is given, and nothing else."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager

import duckdb

# Of the machine's memory: two runs at once leave a fifth to all else. What needs more goes to disk, up to the second.
_MEMORY, _DISK = "40%", "16GB"
# A sensor's run is ended after 300 s. Of what a person starts even all of a mart takes less than this; more is a
# join without a condition.
SECONDS = 900.0
# MULTI is a PIVOT that finds out its columns by itself.
_QUESTIONS = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI, duckdb.StatementType.EXPLAIN)


def sandbox(*, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A database in memory: no files, no network, no extensions, no variables of Python, and no way to switch these on.

    Args:
        threads: as many as cores, if not given.
    """
    connection = duckdb.connect(
        config={
            "enable_external_access": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "memory_limit": _MEMORY,
            "max_temp_directory_size": _DISK,
            **({} if threads is None else {"threads": threads}),
        }
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'; SET lock_configuration = true")
    return connection


@contextmanager
def visited(*, seconds: float = SECONDS) -> Generator[duckdb.DuckDBPyConnection]:
    """A connection to this process's sandbox, interrupted after a while; nobody else sees what is made in it.

    To make a database takes 20 ms of CPU, as much as to judge a hundred thousand rows.
    """
    with _sandbox(os.getpid()).cursor() as connection, bounded(connection, seconds=seconds):
        connection.execute("BEGIN")  # and never committed
        yield connection


def only(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The SQL, if it only asks: what commits or creates would be there for whoever asks next.

    Raises:
        duckdb.ParserException: it does something else, or several things.
    """
    kinds = [statement.type for statement in connection.extract_statements(sql)]
    if len(kinds) != 1 or kinds[0] not in _QUESTIONS:
        found = ", ".join(kind.name for kind in kinds) or "nothing"
        raise duckdb.ParserException(f"found {found}, expected one SELECT")
    return sql


@functools.cache
def _sandbox(_process: int) -> duckdb.DuckDBPyConnection:
    return sandbox()


@contextmanager
def bounded(connection: duckdb.DuckDBPyConnection, *, seconds: float = SECONDS) -> Generator[None]:
    """Interrupt what still runs after a while; it then raises `duckdb.InterruptException`."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # a process that ends while it holds the connection is told by DuckDB of all that it leaks
