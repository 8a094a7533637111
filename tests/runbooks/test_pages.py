"""Every runbook has the same form, a state in which it is rehearsed, and a line in the index; and a rehearsal can fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dagster_project.settings import REPOSITORY
from tests.runbooks import on_a_broker, on_lakes, with_services
from tests.runbooks.page import DIAGNOSIS, FIX, INDEX, SECTIONS, WORKED, Runbook, runbooks, shows
from tests.runbooks.rehearsal import State, rehearse
from tests.runbooks.shell import shell
from tests.unit.docs.test_tutorial import LINK, invocations, parse

PAGES = runbooks()
PAGE = """\
# The lamp is dark

## Symptom

It is dark.

## Impact

Nobody reads.

## Diagnosis

```console
$ cat lamp
off
```

## Fix

```console
$ echo on > lamp
```

## How to know that it worked

```console
$ cat lamp
on
```

## Prevention

A second lamp.
"""


def test_each_page_is_rehearsed_in_one_state() -> None:
    rehearsed = [*on_lakes.STATES, *on_a_broker.STATES, *with_services.STATES]

    assert sorted(rehearsed) == sorted(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_all_its_sections_and_commands_of_the_program(name: str) -> None:
    page = PAGES[name]

    assert tuple(page.sections) == SECTIONS
    assert all(text.strip() for text in page.sections.values())
    steps = [step for section in (DIAGNOSIS, FIX, WORKED) for step in page.steps(section)]
    assert all(page.steps(section) for section in (DIAGNOSIS, WORKED))
    # What is to be seen is shown; of a command that mends something its end is enough.
    assert all(step.output for section in (DIAGNOSIS, WORKED) for step in page.steps(section))
    for step in steps:
        for arguments in invocations(step.command):
            parse(arguments)


@pytest.mark.parametrize("path", [*(INDEX.parent.glob("*.md"))], ids=lambda path: path.stem)
def test_links_of_a_page_lead_somewhere(path: Path) -> None:
    targets = [(path.parent / link).resolve() for link in LINK.findall(path.read_text()) if "://" not in link]

    assert [target.relative_to(REPOSITORY) for target in targets if not target.exists()] == []


def test_the_index_and_the_first_page_lead_to_each_of_them() -> None:
    index, readme = INDEX.read_text(), (REPOSITORY / "README.md").read_text()

    assert {name for name in PAGES if f"({name}.md)" not in index} == set()
    assert "(docs/runbooks/README.md)" in readme


@pytest.mark.parametrize(
    ("printed", "wanted", "same"),
    [
        ("one\ntwo\n", "one\ntwo\n", True),
        ("│ one │   2 │\n└─────┴─────┘\n", "one  2\n", True),
        ("one\ntwo\nthree\n", "…\nthree\n", True),
        ("one\ntwo\nthree\n", "one\n…\n", True),
        ("one\n", "…\none\n…\n", True),
        ("took 12 s\n", "took … s\n", True),
        ("took 12 h\n", "took … s\n", False),
        ("one\ntwo\n", "one\n", False),
        ("one\n", "one\ntwo\n", False),
        ("1.5\n", "1x5\n", False),
        ("held (25.0%)\n", "held (25.0%)\n", True),
    ],
)
def test_what_a_page_shows_is_what_was_printed_but_for_frames_and_dots(printed: str, wanted: str, same: bool) -> None:
    assert shows(printed, wanted) is same


def rehearsed(folder: Path, page: str, *, lamp: str = "off") -> None:
    path = folder / "lamp.md"
    path.write_text(page)
    (folder / "lamp").write_text(f"{lamp}\n")
    rehearse(Runbook.read(path), State(shell=shell(folder, {})))


def test_a_page_that_holds_is_rehearsed(tmp_path: Path) -> None:
    rehearsed(tmp_path, PAGE)


@pytest.mark.parametrize(
    ("page", "lamp", "why"),
    [
        (PAGE, "on", "the page's symptom"),
        (PAGE.replace("on\n", "…\n"), "off", "before the fix"),
        (PAGE.replace("echo on > lamp", "false"), "off", "the fix"),
        (PAGE.replace("echo on > lamp", "echo dim > lamp"), "off", "did not work"),
        (PAGE.replace("off\n", "…\n"), "off", "the diagnosis is as before"),
    ],
    ids=["another state", "nothing to see", "a command fails", "no fix", "no diagnosis"],
)
def test_a_page_that_does_not_hold_is_refused(page: str, lamp: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=re.escape(why)):
        rehearsed(tmp_path, page, lamp=lamp)


def test_lakehouse_runs_here_and_all_else_in_a_shell(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    found = shell(tmp_path, {"WORD": "here"})

    assert found.run("echo $WORD; false").output == "here\n"
    assert found.run("echo $WORD; false").code == 1
    assert "no Kafka broker" in found.run("lakehouse topics plan").output
    assert found.run("lakehouse query 'SELECT 1' --json | tr -d ' \\n'").output == '[{"1":1}]'
