"""Where the platform runs: read once from the variables, passed on as one frozen value."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.errors import ConfigurationError, together
from dagster_project.variables.files import publish

if TYPE_CHECKING:
    from dagster_project.variables.variables import Profile

REPOSITORY = Path(__file__).resolve().parent.parent
# Names and secrets of what pseudonyms are made with. In no `Settings`, which may be printed.
PSEUDONYM_KEYS = "LAKEHOUSE_PSEUDONYM_KEYS"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one installation: what most of the code asks for. All variables are in `variables/variables.py`.

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
        engine: `LAKEHOUSE_ENGINE`, where the router puts Silver and the marts; `auto` is by what was measured.
        spark: `LAKEHOUSE_SPARK`, where marts with `engine: spark` are computed; empty means nowhere.
        profile: `LAKEHOUSE_PROFILE`. Nobody asks for it but who starts services or configures Dagster's instance.
    """

    home: Path
    project: Path
    lake_uri: str
    bootstrap_servers: str
    schema_registry_url: str = field(default="", repr=False)
    redis_url: str = field(default="", repr=False)
    prices: Path | None = None
    engine: str = "auto"
    spark: str = ""
    profile: Profile = "local"

    @property
    def contracts(self) -> Path:
        return self.project / "contracts"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Args:
            environment: by default this process's, to which is added what libraries read from secret files.

        Raises:
            ConfigurationError: a variable makes no sense or is missing, the project folder has no `contracts/`.
        """
        # Imported late: a fifth of a second, which the start of a command has no use for.
        from dagster_project.variables.rules import problems
        from dagster_project.variables.variables import Variables

        variables = Variables.read(os.environ if environment is None else environment)
        if errors := [*problems(variables)]:
            raise together(errors)
        if environment is None:
            publish()
        return cls(
            home=variables.lakehouse_home,
            project=_project(variables.lakehouse_project),
            lake_uri=_lake_uri(variables.lakehouse_uri or str(variables.lakehouse_home / "lake")),
            bootstrap_servers=variables.kafka_bootstrap_servers,
            schema_registry_url=variables.schema_registry_url.get_secret_value(),
            redis_url=variables.redis_url.get_secret_value(),
            prices=variables.lakehouse_prices,
            engine=variables.lakehouse_engine,
            spark=variables.lakehouse_spark,
            profile=variables.lakehouse_profile,
        )

    def starts_services(self, command: str) -> None:
        """Refuse a command of the local profile in any other.

        Raises:
            ConfigurationError: it is another one.
        """
        if self.profile != "local":
            raise ConfigurationError(
                f"LAKEHOUSE_PROFILE={self.profile}, and `lakehouse {command}` starts services on this machine",
                expected="the profile `local`",
                remedy="run it with LAKEHOUSE_PROFILE=local; docs/configuration.md says what takes its place in production",
            )


def _project(configured: Path | None) -> Path:
    here = Path.cwd()
    project = configured or (here if (here / "contracts").is_dir() else REPOSITORY)
    if not (project / "contracts").is_dir():
        raise ConfigurationError(
            f"no folder contracts/ in {project}",
            expected="a project folder with data contracts",
            remedy="run from the project folder, or set LAKEHOUSE_PROJECT to it",
        )
    return project


def _lake_uri(uri: str) -> str:
    scheme, separator, _ = uri.partition("://")
    if separator and scheme != "s3":
        raise ConfigurationError(
            f"LAKEHOUSE_URI={uri}",
            expected="a local path, or s3://bucket/prefix",
            remedy="set LAKEHOUSE_URI to one of these, or unset it to keep the lake under LAKEHOUSE_HOME",
        )
    return (uri if separator else str(Path(uri).expanduser().resolve())).rstrip("/")


def pseudonym_keys(environment: Mapping[str, str] = os.environ) -> str:
    """What is configured, or else, locally, what was made for local use; empty if neither is there."""
    from dagster_project.variables.variables import Variables

    variables = Variables.read(environment)
    if keys := variables.lakehouse_pseudonym_keys.get_secret_value():
        return keys
    if variables.lakehouse_profile != "local":
        return ""
    try:
        return _local_keys(variables.lakehouse_home).read_text().strip()
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
