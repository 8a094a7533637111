"""Runbooks whose commands need nothing but the lake: each is rehearsed on the state that it describes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.runbooks.on_lakes import STATES
from tests.runbooks.page import runbooks
from tests.runbooks.rehearsal import rehearse


@pytest.mark.parametrize("name", STATES)
def test_the_page_leads_out_of_the_state_that_it_describes(name: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        rehearse(runbooks()[name], STATES[name](tmp_path, stack))
