"""The tutorial's commands are commands of the program, and its pages are put together as its generator says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer.main

from dagster_project.cli.main import app
from dagster_project.settings import REPOSITORY
from docs.tutorial import PAGES, Step, comparable, run, steps, with_outputs
from tests.unit.docs.test_guarantees import missing

PAGE = """\
# A page

```console
$ echo one; echo two
one
two
$ cat <<END
> $ three
> END
old
```

    $ not this

```console
$ true
```
"""
PATHS = sorted(PAGES.glob("[0-9]*.md"))
LINK = re.compile(r"\]\(([^)#]+\.md)")
_HEREDOC = re.compile(r"(?<=<<)\s*['\"]?(\w+)['\"]?.*?^\1$", re.MULTILINE | re.DOTALL)
# Where another command begins in a line.
_ENDS = {"|", "||", "&&", ";", "&", ">", "2>", "2>&1"}


def invocations(command: str) -> list[list[str]]:
    """The arguments of each `lakehouse` in a command."""
    script = _HEREDOC.sub("", command).replace("\n", " ; ")
    words = list(shlex.shlex(script, posix=True, punctuation_chars=True))
    found: list[list[str]] = []
    for place, word in enumerate(words):
        if word == "lakehouse" and (place == 0 or words[place - 1] in {*_ENDS, "until", "do", "if", "!", "("}):
            rest = words[place + 1 :]
            end = next((at for at, one in enumerate(rest) if one in _ENDS or one == ")"), len(rest))
            arguments = rest[:end]
            # The number of a redirection belongs to it.
            found.append(arguments[:-1] if rest[end : end + 1] == [">"] and arguments[-1:] == ["2"] else arguments)
    return found


def parse(arguments: list[str]) -> str:
    """Parse as the program does, without running anything; returns the command's name.

    Raises:
        click.UsageError: there is no such command, option or argument.
    """
    command, path = typer.main.get_command(app), list[str]()
    while isinstance(command, click.Group):
        name, found, arguments = command.resolve_command(click.Context(command), arguments)
        assert name is not None
        assert found is not None
        path.append(name)
        command = found
    command.make_context(path[-1], arguments)
    return " ".join(path)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_command_of_a_page_is_one_of_the_program(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    commands = [step.command for step in steps(page)]

    assert commands
    parsed = [parse(arguments) for command in commands for arguments in invocations(command)]
    # None was overlooked: each stands where a command does.
    assert len(parsed) == sum(len(re.findall(r"(?<![\w./-])lakehouse (?!\|)", command)) for command in commands)
    assert parsed
    script = subprocess.run(["bash", "-n"], input="\n".join(commands), text=True, capture_output=True, check=False)
    assert (script.returncode, script.stderr) == (0, "")


@pytest.mark.parametrize("path", [*PATHS, PAGES / "README.md"], ids=lambda path: path.stem)
def test_links_of_a_page_lead_somewhere(path: Path) -> None:
    targets = [(path.parent / link).resolve() for link in LINK.findall(path.read_text()) if "://" not in link]

    assert [target.relative_to(REPOSITORY) for target in targets if not target.exists()] == []


def test_each_page_is_in_the_index_with_a_test_that_exists() -> None:
    lines = [line for line in (PAGES / "README.md").read_text().splitlines() if re.match(r"\| \d", line)]

    assert [LINK.findall(line) for line in lines] == [[path.name] for path in PATHS]
    assert [problem for line in lines for problem in missing(line)] == []


@pytest.mark.parametrize(
    "line",
    ["lakehouse contract nwe x", "lakehouse query", "lakehouse verify --datasets x", "lakehouse lag || lakehouse leg"],
)
def test_a_command_that_there_is_not_is_found(line: str) -> None:
    *_, wrong = invocations(line)

    with pytest.raises(click.UsageError):
        parse(wrong)


def test_a_page_is_its_commands_and_what_they_print() -> None:
    found = steps(PAGE)

    assert found == [
        Step(command="echo one; echo two", output="one\ntwo\n"),
        Step(command="cat <<END\n$ three\nEND", output="old\n"),
        Step(command="true"),
    ]
    assert with_outputs(PAGE, [step.output for step in found]) == PAGE
    assert with_outputs(PAGE, ["1\n", "", "2\n"]) == PAGE.replace("one\ntwo\n", "1\n").replace("old\n", "").replace(
        "$ true\n", "$ true\n2\n"
    )


def test_commands_run_in_one_session_and_neither_path_nor_name_of_the_machine_is_told() -> None:
    who = f"{shlex.quote(sys.executable)} -c 'import getpass, socket; print(getpass.getuser(), socket.gethostname(), sep=\"@\")'"
    outputs = run(["cd contracts; there=here", "pwd; echo $there $TUTORIAL", "ls /no-such-folder; echo after", who])

    assert outputs[0] == ""
    assert outputs[1] == "~/shop/contracts\nhere $TUTORIAL\n"
    assert "No such file" in outputs[2]
    assert outputs[2].endswith("after\n")
    assert outputs[3] == "you@laptop\n"


def test_what_no_two_runs_have_in_common_is_not_compared() -> None:
    one = "pid 12, 127.0.0.1:4711 at 2026-11-23 03:35:11, 3.4 s, 119 a second\n│ a   │ 1,234 │\n"
    other = "pid 7, 127.0.0.1:80 at 2027-01-02 13:35:19, 13.4 s, 2,119 a second\n│ a │ 999,234 │\n"

    assert comparable(one) == comparable(other)
    assert comparable("400 rows, 2026-03-01") != comparable("401 rows, 2026-03-01")
