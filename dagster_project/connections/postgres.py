"""The database of Dagster's runs, events and ticks."""

from __future__ import annotations

from dagster_project.errors import ConfigurationError

_ANSWER_S = 5
_ABOUT = """
    SELECT current_user, current_database(), current_setting('server_version'), to_regclass('runs') IS NOT NULL,
        has_schema_privilege(current_schema(), 'CREATE')
"""


def ask(url: str) -> str:
    """Who one is there, and whether Dagster's tables are there or can be made.

    Raises:
        ConfigurationError: it cannot be reached, does not let one in, or allows no tables.
    """
    try:
        # Imported late: of the extra `production`, which a laptop does not need.
        import psycopg2
    except ImportError as error:
        raise ConfigurationError(
            f"DAGSTER_POSTGRES_URL is set, and there is no client of PostgreSQL: {error}",
            expected="Dagster's storage in PostgreSQL and its client",
            remedy="uv pip install dagster-postgres, as deploy/production has it",
        ) from error
    try:
        connection = psycopg2.connect(url, connect_timeout=_ANSWER_S)
        try:
            with connection.cursor() as cursor:
                cursor.execute(_ABOUT)
                user, database, version, made, may_make = cursor.fetchone() or ("", "", "", False, False)
            encrypted = connection.info.ssl_in_use
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise ConfigurationError(
            f"PostgreSQL: {' '.join(str(error).split())}",
            expected="a database that lets the user of DAGSTER_POSTGRES_URL in",
            remedy="correct DAGSTER_POSTGRES_URL: host, port, name of the database, user and password, sslmode and sslrootcert",
        ) from error
    if not made and not may_make:
        raise ConfigurationError(
            f"PostgreSQL: database {database!r} has no tables of Dagster's, and {user!r} may make none",
            expected="a user who may make tables",
            remedy=f"GRANT CREATE ON SCHEMA public TO {user}",
        )
    tables = "with Dagster's tables" if made else "without tables yet, which Dagster makes"
    return f"PostgreSQL {version}, {database!r} as {user!r}, {'TLS' if encrypted else 'without TLS'}, {tables}"
