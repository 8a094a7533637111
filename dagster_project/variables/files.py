"""The folder of secret files; and their values for whoever does not ask `Variables`: libraries, and what `alerts.yaml` names."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from dagster_project.errors import ConfigurationError

SECRETS = "LAKEHOUSE_SECRETS"
# What begins so is read from the environment by the clients of stores, the exporter of spans and Dagster's own configuration.
OF_LIBRARIES = ("AWS_", "OTEL_", "DAGSTER_", "LAKEHOUSE_COMPUTE_LOGS")


def folder_of(environment: Mapping[str, str]) -> Path | None:
    """The folder of secrets, if there is to be one.

    Raises:
        ConfigurationError: it is none.
    """
    configured = environment.get(SECRETS)
    if not configured:
        return None
    folder = Path(configured).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigurationError(
            f"{SECRETS}={configured}",
            expected="a folder of files that are named like variables",
            remedy=f"mount the folder of secrets there, or unset {SECRETS}",
        )
    return folder


def with_secret_files(environment: Mapping[str, str]) -> Mapping[str, str]:
    """An environment and, for what it does not set, its secret files.

    Raises:
        ConfigurationError: the folder or a file in it cannot be read.
    """
    folder = folder_of(environment)
    if folder is None:
        return environment
    unset = (path for path in folder.iterdir() if path.name.isidentifier() and not environment.get(path.name))
    # As pydantic-settings has it: a link that leads out of the folder is no file of it.
    inside = (path for path in unset if path.is_file() and folder in path.resolve().parents)
    try:
        files = {path.name: path.read_text(encoding="utf-8").strip() for path in inside}
    except (OSError, UnicodeDecodeError) as error:
        refused = unreadable(folder, error)
    else:
        return {**environment, **files}
    raise refused


def unreadable(folder: Path, error: BaseException | None) -> ConfigurationError:
    """What to say of a folder with a file that cannot be read. To be raised where `error` is out of reach: it may hold bytes of a secret."""
    return ConfigurationError(
        f"{SECRETS}={folder}: {error if isinstance(error, OSError) else 'a file is not text'}",
        expected="files of UTF-8 text that this user may read",
        remedy="mend the file, or take it out of the folder",
    )


def publish(environment: MutableMapping[str, str] = os.environ) -> None:
    """Put what libraries read by themselves from secret files into the environment of this process and its children.

    Raises:
        ConfigurationError: as of `with_secret_files`.
    """
    found = with_secret_files(environment)
    environment.update({name: value for name, value in found.items() if name.startswith(OF_LIBRARIES)})
