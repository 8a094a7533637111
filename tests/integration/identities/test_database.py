"""A PostgreSQL for Dagster: its owner uses it by TLS, and nobody else gets in."""

from __future__ import annotations

import psycopg2
import pytest

from tests.production.services.database import SecureDatabase


def test_the_owner_of_the_database_writes_by_tls(database: SecureDatabase) -> None:
    connection = psycopg2.connect(database.url("dagster"))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert cursor.fetchone() == (True,)
            cursor.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1); SELECT n FROM kept")
            assert cursor.fetchone() == (1,)
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("user", "change", "words"),
    [
        ("nobody", ("", ""), 'permission denied for database "dagster"'),
        ("dagster", ("dagster:", "dagster:not-"), 'password authentication failed for user "dagster"'),
        ("dagster", ("sslmode=verify-full", "sslmode=disable"), "no encryption"),
    ],
)
def test_who_has_no_rights_is_not_let_in(
    database: SecureDatabase, user: str, change: tuple[str, str], words: str
) -> None:
    with pytest.raises(psycopg2.OperationalError, match=words):
        psycopg2.connect(database.url(user).replace(*change), connect_timeout=5)
