"""A rehearsal: a runbook's commands against the state that it describes, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from docs.tutorial import Step
from tests.runbooks.page import DIAGNOSIS, FIX, WORKED, Runbook, shows
from tests.runbooks.shell import Shell


@dataclass(frozen=True, kw_only=True)
class State:
    """A broken platform.

    Attributes:
        work: what the sensors would launch, whatever comes of it; done after each step of the fix.
        outside: what others do, where the page has a comment in place of a command.
    """

    shell: Shell
    work: Callable[[], object] = lambda: None
    outside: Callable[[], object] = lambda: None


def rehearse(runbook: Runbook, state: State) -> None:
    """Diagnose, see that it is not well, fix it, see that it is.

    Raises:
        AssertionError: a command printed something else than its page shows, or the page shows no difference.
    """
    assert not (wrong := list(differences(runbook, DIAGNOSIS, state))), f"the page's symptom: {'; '.join(wrong)}"
    assert list(differences(runbook, WORKED, state)), "before the fix all looks as if it had worked"
    assert not (wrong := list(differences(runbook, FIX, state, work=True))), f"the fix: {'; '.join(wrong)}"
    assert not (wrong := list(differences(runbook, WORKED, state))), f"it did not work: {'; '.join(wrong)}"
    assert list(differences(runbook, DIAGNOSIS, state)), "after the fix the diagnosis is as before"


def differences(runbook: Runbook, section: str, state: State, *, work: bool = False) -> Iterator[str]:
    """Where the commands of a section do not print what it shows. One that shows nothing has to end well."""
    for step in runbook.steps(section):
        if problem := _difference(step, state):
            yield problem
        if work:
            state.work()


def _difference(step: Step, state: State) -> str:
    if step.command.startswith("#"):
        state.outside()
        return ""
    ran = state.shell.run(step.command)
    if shows(ran.output, step.output) if step.output else ran.code == 0:
        return ""
    return f"`{step.command}` ended with {ran.code} and printed\n{ran.output}\ninstead of\n{step.output}"
