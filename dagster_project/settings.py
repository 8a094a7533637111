"""Where the platform runs: read once from the environment, passed on as one frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dagster_project.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of one installation.

    Attributes:
        home: local state, `LAKEHOUSE_HOME`: services, logs, Dagster's instance, and by default the lake.
        project: the folder that holds `contracts/`, `LAKEHOUSE_PROJECT`.
        lake_uri: root of all tables, `LAKEHOUSE_URI`: a path or `s3://bucket/prefix`.
        bootstrap_servers: `KAFKA_BOOTSTRAP_SERVERS`; empty means the broker that `lakehouse up` started.
    """

    home: Path
    project: Path
    lake_uri: str
    bootstrap_servers: str

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
            ConfigurationError: the project folder has no `contracts/`, or the lake's scheme is unknown.
        """
        home = Path(environment.get("LAKEHOUSE_HOME") or ".lakehouse").expanduser().resolve()
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
        )
