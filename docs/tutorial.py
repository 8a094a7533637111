"""Runs the commands of the tutorial's pages, each page in an empty folder of its own, and writes what they print into it.

    python docs/tutorial.py [--check] [PAGE…]

A page's commands are in blocks of `console`: a command begins with `$ `, its further lines with `> `; all else is output.
`--check` writes nothing, names each page that differs and exits with 1. What no two runs have in common, such as times, is
not looked at, and a page on which nothing else has changed stays as it is.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = Path(__file__).resolve().parent / "tutorial"
# A page starts a broker and Dagster, some 30 s on two idle cores; it is far from this on busy ones.
_PAGE_SECONDS = 900.0
_STOP_SECONDS = 60.0
_COLUMNS = "120"  # as wide as the project's text
_USER = "you"
# No command prints it.
_MARK = "\x1e"
# Jobs of their own group, as a terminal has them: so that `kill -INT %1` is the Ctrl-C of a second terminal. None is left.
_PROLOGUE = "set -m\ntrap 'kill -INT $(jobs -p) 2> /dev/null; wait' EXIT\n"
_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
# What differs from run to run, and what stands for it when two runs are compared.
_VARYING = tuple(
    (re.compile(pattern), sign)
    for pattern, sign in (
        (r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?", "<time>"),
        (r"127\.0\.0\.1:\d+", "<address>"),
        (r"\bpid \d+", "pid <n>"),
        (r"(?<![\w-])[\w-]{22}(?![\w-])", "<id>"),  # of Kafka
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<id>"),
        (r"\b\d+:\d\d:\d\d\b|-:--:--", "<duration>"),
        (r"\b[\d,]+ a second\b", "<rate>"),
        (r"\b\d+(\.\d+)? (s|min|h|d)\b", "<duration>"),
        # Sizes of files: Parquet holds times, too. Their decimals of a dollar follow from them.
        (r"-?\b\d\.\d{6}\b", "<amount>"),
        (r"\b\d{1,3}(,\d{3})+\b", "<number>"),
        # Columns of a table are as wide as what is in them.
        (r"[━─]+", "─"),
        (r"[ \t]+", " "),
    )
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command as bash reads it, one or more lines, and what it prints."""

    command: str
    output: str = ""

    def __str__(self) -> str:
        return "$ " + self.command.replace("\n", "\n> ") + "\n" + self.output


def steps(page: str) -> list[Step]:
    """The commands of a page, in order, with the output that it shows."""
    return [step for block in _BLOCK.findall(page) for step in _steps(block)]


def with_outputs(page: str, outputs: Sequence[str]) -> str:
    """The page with each command's output replaced, in order."""
    left = iter(outputs)

    def replaced(block: re.Match[str]) -> str:
        return "".join(str(replace(step, output=next(left))) for step in _steps(block[0]))

    return _BLOCK.sub(replaced, page)


def comparable(page: str) -> str:
    """A page without what differs from run to run."""
    for pattern, sign in _VARYING:
        page = pattern.sub(sign, page)
    return page


def run(commands: Sequence[str]) -> list[str]:
    """What commands print, errors included, in one session of bash in an empty folder with `contracts/` in it.

    Raises:
        TimeoutError: they do not end.
    """
    with tempfile.TemporaryDirectory(prefix="tutorial-") as temporary:
        folder = Path(temporary).resolve() / "shop"
        (folder / "contracts").mkdir(parents=True)
        lines = [f"printf '%s\\n' '{_MARK}'\n{command}\n" for command in commands]
        try:
            printed = _session(_PROLOGUE + "".join(lines), folder)
        finally:
            down = [sys.executable, "-m", "dagster_project.cli.main", "down"]
            subprocess.run(down, cwd=folder, env=_environment(), capture_output=True, check=False)
        _, *outputs = printed.split(f"{_MARK}\n")
        names = {str(folder): "~/shop", str(PAGES): "$TUTORIAL", str(REPOSITORY): "~/lakehouse"}
        names[f"{_USER}@{socket.gethostname()}"] = f"{_USER}@laptop"
        return [_without(output, names) for output in outputs]


def _session(script: str, folder: Path) -> str:
    with subprocess.Popen(
        ["/usr/bin/env", "bash", "-c", script],
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as bash:
        try:
            printed, _ = bash.communicate(timeout=_PAGE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the commands do not end; so far:\n{(error.output or b'').decode()}") from error
        finally:
            _end(bash)
    return printed


def _end(bash: subprocess.Popen[str]) -> None:
    """End what still runs, in order, so that nothing of it is left behind."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(bash.pid).children()
        bash.kill()
        for child in children:
            child.send_signal(signal.SIGINT)
        psutil.wait_procs(children, timeout=_STOP_SECONDS)


def _environment() -> dict[str, str]:
    """As after `make setup`, with nothing of whoever starts us."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "JAVA_HOME", "MAVEN_OPTS") if name in os.environ}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '')}",
        "PYTHONPATH": str(REPOSITORY),
        "TUTORIAL": str(PAGES),
        "COLUMNS": _COLUMNS,
        "LOGNAME": _USER,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }


def _without(output: str, names: dict[str, str]) -> str:
    for found, name in names.items():
        output = output.replace(found, name)
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines())


def _steps(block: str) -> Iterator[Step]:
    lines = block.splitlines()
    starts = [place for place, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        more = start + 1
        while more < end and lines[more].startswith("> "):
            more += 1
        command = "\n".join(line[2:] for line in lines[start:more])
        yield Step(command=command, output="".join(f"{line}\n" for line in lines[more:end]))


def main() -> None:
    """Run the pages that are asked for, or all."""
    parser = argparse.ArgumentParser(description="Runs the commands of the tutorial's pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page differs")
    parser.add_argument("pages", nargs="*", help="what their names begin with, such as 01; by default all")
    arguments = parser.parse_args()
    # Asked to end, nothing is left behind either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    differing: list[str] = []
    for path in sorted(PAGES.glob("[0-9]*.md")):
        if arguments.pages and not path.name.startswith(tuple(arguments.pages)):
            continue
        page = path.read_text(encoding="utf-8")
        told = with_outputs(page, run([step.command for step in steps(page)]))
        before, after = comparable(page), comparable(told)
        print(f"{path.name}: {'as it was' if before == after else 'differs'}", flush=True)
        if before == after:
            continue
        differing.append(path.name)
        if arguments.check:
            sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), after.splitlines(True), n=1))
        else:
            path.write_text(told, encoding="utf-8")
    if arguments.check and differing:
        sys.exit(1)


if __name__ == "__main__":
    main()
