"""A runbook as it is read at night: its sections, its commands, and whether what they print is what it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dagster_project.settings import REPOSITORY
from docs.tutorial import Step, steps

RUNBOOKS = REPOSITORY / "docs" / "runbooks"
INDEX = RUNBOOKS / "README.md"
SYMPTOM, IMPACT, DIAGNOSIS, FIX = "Symptom", "Impact", "Diagnosis", "Fix"
WORKED, PREVENTION = "How to know that it worked", "Prevention"
SECTIONS = (SYMPTOM, IMPACT, DIAGNOSIS, FIX, WORKED, PREVENTION)
# Stands in a page for what differs: within a line for any text, alone for any lines.
ANYTHING = "…"
_FRAMES = re.compile(r"[─-╿]")


@dataclass(frozen=True, kw_only=True)
class Runbook:
    """Attributes: `sections` by their headings, in the order of the page."""

    name: str
    title: str
    sections: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Runbook:
        head, *parts = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        sections = {heading.strip(): text for heading, _, text in (part.partition("\n") for part in parts)}
        return cls(name=path.stem, title=head.partition("\n")[0].removeprefix("# "), sections=sections)

    def steps(self, section: str) -> list[Step]:
        return steps(self.sections[section])


def runbooks() -> dict[str, Runbook]:
    """All of them, by name."""
    return {path.stem: Runbook.read(path) for path in sorted(RUNBOOKS.glob("*.md")) if path != INDEX}


def shows(printed: str, wanted: str) -> bool:
    """Whether a command has printed what the page shows, but for frames of tables, blank space and `…`."""
    return re.fullmatch("".join(_patterns(wanted)), "".join(f"{line}\n" for line in _plain(printed))) is not None


def _patterns(wanted: str) -> Iterator[str]:
    for line in _plain(wanted):
        if line == ANYTHING:
            yield r"(?:.*\n)*?"
        else:
            yield ".*?".join(map(re.escape, line.split(ANYTHING))) + r"\n"


def _plain(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if words := _FRAMES.sub(" ", line).split():
            yield " ".join(words)
