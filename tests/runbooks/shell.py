"""Runs the commands of a runbook: `lakehouse` in this process, as a start of Python costs a second, all else in bash."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from dagster_project.cli.main import app
from dagster_project.cli.output import console, error_console
from tests.integration.lake import COMMAND_PATIENCE, environment

# Characters by which a shell does more than to run a program.
_SHELL = frozenset("|&;<>$`*?~#\n")


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command printed, errors included, and its exit code."""

    output: str
    code: int


@dataclass(frozen=True, kw_only=True)
class Shell:
    """Where the commands run, and with which variables."""

    folder: Path
    variables: Mapping[str, str]

    def run(self, command: str) -> Ran:
        words = shlex.split(command) if not _SHELL & set(_unquoted(command)) else []
        return self._here(words[1:]) if words[:1] == ["lakehouse"] else self._bash(command)

    def _here(self, arguments: list[str]) -> Ran:
        with contextlib.chdir(self.folder), _variables(self.variables), _wide():
            result = CliRunner().invoke(app, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(output=result.output, code=result.exit_code)

    def _bash(self, command: str) -> Ran:
        path = f"{Path(sys.executable).parent}:{self.variables.get('PATH', os.environ['PATH'])}"
        done = subprocess.run(
            ["/usr/bin/env", "bash", "-c", command],
            cwd=self.folder,
            env={**self.variables, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * COMMAND_PATIENCE,  # a page may wait for something itself
            check=False,
        )
        return Ran(output=done.stdout, code=done.returncode)


def shell(folder: Path, variables: Mapping[str, str], *, servers: str = "") -> Shell:
    """A shell in a project, whose LAKEHOUSE_HOME is in the folder too."""
    return Shell(
        folder=folder, variables=environment(home=folder / "home", project=folder, servers=servers, more=variables)
    )


@contextlib.contextmanager
def _wide() -> Generator[None]:
    """Tables have room, whatever the terminal was as the consoles were made: this process makes them once."""
    before = {item: item._width for item in (console, error_console)}
    for item in before:
        item.width = 200
    try:
        yield
    finally:
        for item, width in before.items():
            item._width = width


@contextlib.contextmanager
def _variables(values: Mapping[str, str]) -> Generator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _unquoted(command: str) -> str:
    """A command without what stands in quotes that a shell leaves alone."""
    parts: list[str] = []
    quote = ""
    for character in command:
        if quote:
            if character == quote:
                quote = ""
            elif quote == '"' and character in "$`":
                parts.append(character)
        elif character in "'\"":
            quote = character
        else:
            parts.append(character)
    return "".join(parts)
