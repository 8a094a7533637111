"""A secret that was let out is found, wherever that was."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.production.leaks import Leak, commands, database, files, leaks
from tests.production.services.database import secure_database

SECRET = "k/9+planted-for-this-test=="
NAME = "REDIS_URL"


@pytest.mark.parametrize(
    "spelled",
    [SECRET, quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode()],
    ids=["plain", "url", "base64"],
)
def test_a_secret_in_a_file_is_found_however_it_is_spelled(tmp_path: Path, spelled: str) -> None:
    planted = tmp_path / "logs" / "run.log"
    planted.parent.mkdir()
    planted.write_bytes(b"\xff\x00" + f"connected to {spelled}\n".encode())
    (tmp_path / "logs" / "empty.log").touch()

    assert list(leaks({NAME: SECRET}, files(tmp_path))) == [Leak(secret=NAME, place=str(planted))]


def test_a_secret_in_the_name_of_a_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "planted-secret-word").touch()

    assert [found.secret for found in leaks({NAME: "planted-secret-word"}, files(tmp_path))] == [NAME]


def test_a_secret_is_not_missed_where_it_belongs(tmp_path: Path) -> None:
    own = tmp_path / "secrets" / NAME
    own.parent.mkdir()
    own.write_text(SECRET)

    assert not list(leaks({NAME: SECRET}, files(tmp_path, but=[own.parent])))


def test_a_secret_on_a_command_line_is_found_and_not_printed() -> None:
    with (
        commands() as seen,
        subprocess.Popen([sys.executable, "-c", "input()", SECRET], stdin=subprocess.PIPE) as process,
    ):
        seen.look()
        process.communicate(b"\n")

    (found,) = {leak for leak in leaks({NAME: SECRET}, seen.places()) if str(process.pid) in leak.place}
    assert SECRET not in str(found)


def test_a_secret_in_the_database_is_found(tmp_path: Path) -> None:
    import psycopg2

    with secure_database(tmp_path) as server:
        connection = psycopg2.connect(server.url("dagster"))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE event_logs (id int, event text)")
            cursor.execute("INSERT INTO event_logs VALUES (1, 'harmless'), (2, %s)", (f"failed: {SECRET}",))
        connection.close()

        found = list(leaks({NAME: SECRET}, database(server.url("dagster"))))
    assert found == [Leak(secret=NAME, place="the database's table event_logs")]


def test_a_word_that_would_be_found_by_chance_is_refused() -> None:
    with pytest.raises(AssertionError, match="REDIS_URL"):
        list(leaks({NAME: "short"}, []))
