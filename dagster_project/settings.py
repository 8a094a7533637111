"""Where the platform runs: read once from the environment, passed on as one frozen value."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dagster_project.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parent.parent
# Names and secrets of what pseudonyms are made with. In no `Settings`, which may be printed.
PSEUDONYM_KEYS = "LAKEHOUSE_PSEUDONYM_KEYS"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one installation.

    Attributes:
        home: local state, `LAKEHOUSE_HOME`: services, logs, Dagster's instance, and by default the lake.
        project: the folder that holds `contracts/`, `LAKEHOUSE_PROJECT`.
        lake_uri: root of all tables, `LAKEHOUSE_URI`: a path or `s3://bucket/prefix`.
        bootstrap_servers: `KAFKA_BOOTSTRAP_SERVERS`; empty means the broker that `lakehouse up` started.
        schema_registry_url: `SCHEMA_REGISTRY_URL`, with `user:password@` where it asks for one; empty means the registry
            that `lakehouse up` started.
        redis_url: `REDIS_URL`, a cache of your own, with `user:password@` where it asks for one; empty means the one that
            `lakehouse up` started.
        prices: `LAKEHOUSE_PRICES`, a price book of its own; none means list prices.
    """

    home: Path
    project: Path
    lake_uri: str
    bootstrap_servers: str
    schema_registry_url: str = ""
    redis_url: str = field(default="", repr=False)
    prices: Path | None = None

    @property
    def contracts(self) -> Path:
        return self.project / "contracts"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings.

        Raises:
            ConfigurationError: the project folder has no `contracts/`, the lake's scheme is unknown.
        """
        home = _home(environment)
        here = Path.cwd()
        default_project = here if (here / "contracts").is_dir() else REPOSITORY
        project = Path(environment.get("LAKEHOUSE_PROJECT") or default_project).expanduser().resolve()
        if not (project / "contracts").is_dir():
            raise ConfigurationError(
                f"no folder contracts/ in {project}",
                expected="a project folder with data contracts",
                remedy="run from the project folder, or set LAKEHOUSE_PROJECT to it",
            )
        lake_uri = environment.get("LAKEHOUSE_URI") or str(home / "lake")
        scheme, separator, _ = lake_uri.partition("://")
        if separator and scheme != "s3":
            raise ConfigurationError(
                f"LAKEHOUSE_URI={lake_uri}",
                expected="a local path, or s3://bucket/prefix",
                remedy="set LAKEHOUSE_URI to one of these, or unset it to keep the lake under LAKEHOUSE_HOME",
            )
        if not separator:
            lake_uri = str(Path(lake_uri).expanduser().resolve())
        return cls(
            home=home,
            project=project,
            lake_uri=lake_uri.rstrip("/"),
            bootstrap_servers=environment.get("KAFKA_BOOTSTRAP_SERVERS", ""),
            schema_registry_url=environment.get("SCHEMA_REGISTRY_URL", ""),
            redis_url=environment.get("REDIS_URL", ""),
            prices=Path(own).expanduser().resolve() if (own := environment.get("LAKEHOUSE_PRICES")) else None,
        )


def pseudonym_keys(environment: Mapping[str, str] = os.environ) -> str:
    """What the environment says, or else what was made for local use; empty if neither is there."""
    if keys := environment.get(PSEUDONYM_KEYS, ""):
        return keys
    try:
        return _local_keys(_home(environment)).read_text().strip()
    except FileNotFoundError:
        return ""


def make_pseudonym_keys(home: Path) -> None:
    """Make a secret for local use, once, for this user's eyes only; in production it comes from the environment."""
    path = _local_keys(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"local:{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
        os.link(staged, path)  # at once or not at all, and never over one that is in use
    except FileExistsError:
        pass
    finally:
        staged.unlink(missing_ok=True)


def _local_keys(home: Path) -> Path:
    return home / "services" / "pseudonym.keys"


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("LAKEHOUSE_HOME") or ".lakehouse").expanduser().resolve()


def without_secret(url: str) -> str:
    """A URL without its `user:password@`, to be shown."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
