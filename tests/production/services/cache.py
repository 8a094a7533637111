"""A cache behind TLS, whose users may do what its access list says."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from dagster_project.services.ports import LOOPBACK, free_port
from tests.production.services.certificates import Authority
from tests.production.services.process import ServerError, serving

# As docs/serving.md has it. Of keys the platform needs its own alone, of commands none that sees or changes the server.
RIGHTS = "~lakehouse:* +@read +@write +@scripting +@connection +@transaction -@dangerous"
USERS: Mapping[str, str] = {"platform": RIGHTS, "nobody": ""}
# Debian's `redis-tools` has the server, too, by the name of the one that checks its files: what it is called by tells it
# what to be. Its package of the server would start one.
_PROGRAMS = ("valkey-server", "redis-server", "valkey-check-rdb", "redis-check-rdb")


@dataclass(frozen=True, kw_only=True)
class SecureCache:
    """A cache that runs.

    Attributes:
        ca: of the authority that has signed its certificate.
    """

    port: int
    ca: Path
    _passwords: Mapping[str, str]

    def variables(self, user: str) -> dict[str, str]:
        """What a process of this user has in its environment."""
        return {
            "REDIS_URL": f"rediss://{user}:{self._passwords[user]}@{LOOPBACK}:{self.port}/0",
            "REDIS_CA_LOCATION": str(self.ca),
        }


@contextmanager
def secure_cache(folder: Path) -> Generator[SecureCache]:
    """Start a Valkey or Redis with a port for TLS and no other.

    Args:
        folder: for its configuration, log and certificates; made if need be.

    Raises:
        ServerError: there is no program for it, or it does not come up.
    """
    authority = Authority(folder / "certificates")
    certificate = authority.certify("cache")
    cache = SecureCache(
        port=free_port(), ca=authority.ca, _passwords={user: secrets.token_urlsafe(24) for user in USERS}
    )
    settings = {
        "bind": LOOPBACK,
        "port": "0",
        "tls-port": str(cache.port),
        "tls-cert-file": f'"{certificate.chain}"',
        "tls-key-file": f'"{certificate.key}"',
        "tls-ca-cert-file": f'"{authority.ca}"',
        "tls-auth-clients": "no",  # they have passwords
        "save": '""',
        "appendonly": "no",
        "dir": f'"{folder}"',
    }
    users = [f"user {user} on >{cache._passwords[user]} resetchannels -@all {USERS[user]}" for user in USERS]
    configuration = folder / "cache.conf"
    configuration.touch(mode=0o600)
    lines = [*(f"{name} {value}" for name, value in settings.items()), "user default off", *users]
    configuration.write_text("\n".join(lines) + "\n")
    client = redis.Redis.from_url(cache.variables("platform")["REDIS_URL"], ssl_ca_certs=str(cache.ca))

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    command = ["redis-server", str(configuration)]
    with serving(command, executable=_program(), log=folder / "cache.log", answers=answers, environment=os.environ):
        client.close()
        yield cache


def _program() -> str:
    for name in _PROGRAMS:
        if path := shutil.which(name):
            return path
    raise ServerError(
        "no Valkey or Redis server; install one with TLS, such as Debian's redis-tools, or run `make setup`"
    )
