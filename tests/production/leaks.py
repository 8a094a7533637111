"""Where a run has let a secret out: its files, its objects, its database, and the command lines that anybody may read."""

from __future__ import annotations

import base64
import mmap
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2
from psycopg2 import sql

# Most commands live for longer, and a look at some hundred processes takes some milliseconds.
_LOOK_S = 0.25
# Shorter ones would be found by chance.
_SHORTEST = 12
_ROWS = 1_000


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Attributes: `secret`: the name of its variable; `place`: where it was found."""

    secret: str
    place: str

    def __str__(self) -> str:
        return f"{self.secret} is in {self.place}"


def spellings(value: str) -> tuple[bytes, ...]:
    """A secret as it is, as it stands in a URL, and as it is sent to who asks for a password."""
    plain = value.encode()
    return tuple({plain, quote(value, safe="").encode(), base64.b64encode(plain)})


def leaks(secrets: Mapping[str, str], places: Iterable[tuple[str, bytes | mmap.mmap]]) -> Iterator[Leak]:
    """Each secret at each place where it is found, once.

    Args:
        secrets: by name.
        places: their names and what is there.
    """
    wanted = {name: spellings(value) for name, value in secrets.items()}
    short = [name for name, value in secrets.items() if len(value) < _SHORTEST]
    assert not short, f"too short to be looked for: {', '.join(short)}"
    for place, content in places:
        for name, spelled in wanted.items():
            if any(content.find(spelling) >= 0 for spelling in spelled):
                yield Leak(secret=name, place=place)


def files(folder: Path, *, but: Iterable[Path] = ()) -> Iterator[tuple[str, bytes | mmap.mmap]]:
    """What is in the files below a folder, and their names, which may hold a secret, too.

    Args:
        but: folders and files where secrets belong.
    """
    left_out = set(but)
    for path in folder.rglob("*"):
        if left_out.intersection([path, *path.parents]):
            continue
        yield f"the name of {path}", str(path).encode()
        if not path.is_file() or path.is_symlink() or not path.stat().st_size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield str(path), content


def database(url: str) -> Iterator[tuple[str, bytes]]:
    """Every row of every table, as text."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        for (table,) in cursor.fetchall():
            cursor.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
            while rows := cursor.fetchmany(_ROWS):
                yield f"the database's table {table}", "\n".join(row for (row,) in rows).encode()


@dataclass(kw_only=True)
class Commands:
    """Attributes: `seen`: the command lines that there were, and a process that had each."""

    seen: dict[bytes, int] = field(default_factory=dict)

    def look(self) -> None:
        for pid in psutil.pids():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:  # it has ended
                continue
            self.seen.setdefault(line, pid)

    def places(self) -> Iterator[tuple[str, bytes]]:
        for line, pid in self.seen.items():
            program = line.partition(b"\0")[0].decode(errors="replace")
            # Without its arguments, as this is printed.
            yield f"the command line of process {pid} ({program} …)", line


@contextmanager
def commands() -> Generator[Commands]:
    """Look at all command lines of this machine, again and again, for as long as the context lasts."""
    found, ending = Commands(), threading.Event()

    def watch() -> None:
        while not ending.wait(_LOOK_S):
            found.look()

    thread = threading.Thread(target=watch, name="commands", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ending.set()
        thread.join()
