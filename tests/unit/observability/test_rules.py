"""The alert rules do what they say, by Prometheus's own tool, and ask only for metrics that there are."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from dagster_project.alerts.kinds import KINDS
from dagster_project.contract.loader import load_catalog
from dagster_project.metrics import exporter
from dagster_project.metrics.exporter import Exporter
from dagster_project.metrics.family import Family
from dagster_project.metrics.sources import sources
from dagster_project.settings import REPOSITORY, Settings
from deploy.observability import dashboard
from tests.unit.docs.test_tutorial import parse

FOLDER = REPOSITORY / "deploy" / "observability"
METRIC = re.compile(r"\blakehouse_\w+")
SELECTOR = re.compile(r"\b(lakehouse_\w+)\{([^}]*)\}")
# Of nothing that the platform could tell itself.
OWN = {"metrics-gone"}


@pytest.fixture(scope="module")
def families() -> dict[str, Family]:
    """All that the exporter may say, by name."""
    settings = Settings(home=Path("/nowhere"), project=REPOSITORY, lake_uri="/nowhere/lake", bootstrap_servers="")
    catalog = load_catalog(settings.contracts)
    return {family.name: family for family in Exporter(sources(catalog, settings, failures=lambda _: {})).families}


@pytest.fixture(scope="module")
def promtool() -> str:
    for place in (shutil.which("promtool"), FOLDER / "target" / "promtool"):
        if place is not None and Path(place).exists():
            return str(place)
    pytest.skip("no promtool: it is in Debian's package prometheus, and `make setup` fetches it where there is apt-get")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def check(*command: str, cwd: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def test_rules_and_configuration_are_valid(promtool: str) -> None:
    done = check(promtool, "check", "config", "--lint-fatal", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_fire_when_they_should_and_only_then(promtool: str) -> None:
    done = check(promtool, "test", "rules", "rules_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ('window="5m"} > 14.4', 'window="5m"} > 144'),
        ('window="5m"} > 14.4', 'window="5m"} > -1'),
        ("lakehouse_job_failing == 1", "lakehouse_job_failing >= 0"),
        ("lakehouse_region_silent == 1", "lakehouse_region_silent == 0"),
        ("> on (dataset) (lakehouse_bad_rate_limit", "< on (dataset) (lakehouse_bad_rate_limit"),
        ('changes(lakehouse_table_version{layer="gold"}[10m]) == 0', 'lakehouse_table_version{layer="gold"} >= 0'),
    ],
)
def test_a_rule_that_is_wrong_is_found(promtool: str, tmp_path: Path, good: str, bad: str) -> None:
    text = (FOLDER / "rules.yaml").read_text()
    assert good in text
    (tmp_path / "rules.yaml").write_text(text.replace(good, bad))
    shutil.copy(FOLDER / "rules_test.yaml", tmp_path)
    assert check(promtool, "test", "rules", "rules_test.yaml", cwd=tmp_path).returncode == 1


def test_each_alert_is_tried_firing_and_not_firing() -> None:
    tried: dict[tuple[str, str], set[bool]] = defaultdict(set)
    for test in yaml.safe_load((FOLDER / "rules_test.yaml").read_text())["tests"]:
        for case in test["alert_rule_test"]:
            for alert in case["exp_alerts"]:
                tried[case["alertname"], alert["exp_labels"]["severity"]].add(True)
            if not case["exp_alerts"]:
                tried[case["alertname"], ""].add(False)
    for rule in rules():
        assert tried[rule["alert"], rule["labels"]["severity"]], rule["alert"]
    # Of those without a case of their own that does not fire, series in their cases are of what must not.
    assert {name for name, severity in tried if severity == ""} >= {"slo-burn", "lag", "silent-region", "broker-down"}


def test_the_alerts_are_those_of_the_platform() -> None:
    assert {rule["alert"] for rule in rules()} == {*KINDS, *OWN}


def test_each_alert_says_what_to_read_and_what_to_run() -> None:
    for rule in rules():
        told = rule["annotations"]
        assert told["summary"], rule
        page, _, anchor = told["runbook"].partition("#")
        assert (REPOSITORY / page).is_file(), page
        if anchor:
            heads = re.findall(r"^#+ (.*)$", (REPOSITORY / page).read_text(), re.MULTILINE)
            assert anchor in {head.lower().replace(" ", "-") for head in heads}
        else:
            assert page == f"docs/runbooks/{rule['alert']}.md"
        program, *arguments = shlex.split(re.sub(r"\{\{.*?\}\}", "orders", told["command"]))
        assert program == "lakehouse"
        parse(arguments)


def test_rules_and_dashboard_ask_for_metrics_and_labels_that_there_are(families: dict[str, Family]) -> None:
    panels = [panel for panel in dashboard.dashboard()["panels"] if panel["type"] != "row"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(asked) > 20
    for expression in [*asked, *(rule["expr"] for rule in rules())]:
        names = METRIC.findall(expression)
        assert names
        assert set(names) <= families.keys(), expression
        for name, selectors in SELECTOR.findall(expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|=|!=)", selectors))
            assert labels <= set(families[name].labels), expression
    # What lines are called is of their labels, too.
    for panel in panels:
        for target in panel["targets"]:
            used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            found = {label for name in METRIC.findall(target["expr"]) for label in families[name].labels}
            assert used <= found, target


def test_each_metric_of_the_lake_is_on_the_dashboard_or_in_a_rule_or_is_for_looking_further(
    families: dict[str, Family],
) -> None:
    text = json.dumps(dashboard.dashboard()) + json.dumps(rules())
    unused = {name for name in families if name not in text}
    assert unused <= {"lakehouse_lost_offsets", "lakehouse_cache_version", "lakehouse_cache_breaker_open"}


def test_the_dashboard_is_what_its_description_makes() -> None:
    assert dashboard.OUT.read_text() == dashboard.text()


def test_panels_stand_beside_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.dashboard()["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        assert grid["x"] + grid["w"] <= 24
        taken |= cells


def test_metrics_have_names_as_prometheus_wants_them(promtool: str, families: dict[str, Family]) -> None:
    samples = [family.of(1.0, *("x" for _ in family.labels)) for family in families.values()]
    text = exporter._text(families.values(), samples)
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
