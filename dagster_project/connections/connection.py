"""Something that the platform connects to, and what came of asking it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dagster_project.alerts.probes import Bounded
from dagster_project.errors import LakehouseError

# A broker is waited for 10 s, and asked once more why it hangs up; a store's client tries for some 10 s.
PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of asking.

    Attributes:
        seen: what is there, where it is as it should be.
        found, expected, remedy: what is not as it should be, as errors have it.
    """

    name: str
    state: Literal["ok", "wrong", "not configured"]
    seen: str = ""
    found: str = ""
    expected: str = ""
    remedy: str = ""


def ask_all(questions: Mapping[str, Callable[[], str]], *, secrets: Sequence[str] = ()) -> list[Outcome]:
    """Ask all at once, and wait for 30 s.

    Args:
        questions: each says what it has seen, nothing where there is nothing to be asked, or raises what is wrong.
        secrets: what no outcome may hold, whatever a library puts into its errors.
    """
    asked: dict[str, Bounded[str]] = {}
    for name, question in questions.items():
        asked[name] = Bounded()
        asked[name].ask(question)
    deadline = time.monotonic() + PATIENCE_S
    return [_outcome(name, one, deadline, secrets) for name, one in asked.items()]


def _outcome(name: str, asked: Bounded[str], deadline: float, secrets: Sequence[str]) -> Outcome:
    try:
        seen = asked.answer(deadline)
    except LakehouseError as error:
        return wrong(name, error, secrets=secrets)
    except TimeoutError:
        late = LakehouseError(
            f"no answer within {PATIENCE_S:.0f} s",
            remedy="see that the address is right, and that the network lets this machine reach it",
        )
        return wrong(name, late, secrets=secrets)
    except Exception as error:  # noqa: BLE001 clients raise many unrelated kinds, and the others are to be told, too
        return wrong(name, LakehouseError(f"{type(error).__name__}: {error}"), secrets=secrets)
    return Outcome(name=name, state="ok" if seen else "not configured", seen=_without(seen, secrets))


def wrong(name: str, error: LakehouseError, *, secrets: Sequence[str] = ()) -> Outcome:
    found, expected, remedy = (_without(text, secrets) for text in (error.found, error.expected, error.remedy))
    return Outcome(name=name, state="wrong", found=found, expected=expected, remedy=remedy)


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
