"""Each alert has its page, and the list of alerts is whole."""

from __future__ import annotations

import re

import pytest

from dagster_project.alerts.kinds import KINDS
from dagster_project.settings import REPOSITORY


@pytest.mark.parametrize("alert", sorted(KINDS))
def test_each_alert_has_a_runbook(alert: str) -> None:
    assert (REPOSITORY / "docs" / "runbooks" / f"{alert}.md").is_file()


def test_the_list_of_alerts_is_whole_and_says_their_hold_downs() -> None:
    page = (REPOSITORY / "docs" / "alerts.md").read_text()
    listed = {
        name: int(seconds)
        for name, seconds in re.findall(r"^\| \[`([\w-]+)`\].* \| (\d+) s[^|]*\|$", page, re.MULTILINE)
    }
    assert listed == {name: kind.hold.total_seconds() for name, kind in KINDS.items()}
