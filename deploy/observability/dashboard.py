"""Writes `dashboard.json`, which Grafana imports: `python deploy/observability/dashboard.py`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUT = Path(__file__).with_name("dashboard.json")
# Grafana's grid has 24 columns; a panel is as high as eight lines of it.
_COLUMNS, _HEIGHT = 24, 8
_SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture.

    Attributes:
        queries: PromQL, each with what its lines are called.
        unit: as Grafana names units.
        kind: of Grafana's panels.
        red: above it the value is drawn red; below it, if `low`.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    red: float | None = None
    low: bool = False


_D = 'dataset=~"$dataset"'
_T = 'table=~"$dataset"'
ROWS: dict[str, list[Panel]] = {
    "Now": [
        Panel(
            title="Sources that do not answer",
            queries={"count(lakehouse_source_up == 0) or vector(0)": "sources"},
            kind="stat",
            width=4,
            red=1,
        ),
        Panel(
            title="Budgets overspent",
            queries={f"count(lakehouse_budget_left{{{_D}}} < 0) or vector(0)": "budgets"},
            kind="stat",
            width=4,
            red=1,
        ),
        Panel(
            title="Regions held back",
            queries={f"sum(lakehouse_breaker_open{{{_T}}})": "regions"},
            kind="stat",
            width=4,
            red=1,
        ),
        Panel(
            title="Jobs that fail",
            queries={"sum(lakehouse_job_failing) or vector(0)": "jobs"},
            kind="stat",
            width=4,
            red=1,
        ),
        Panel(
            title="Time to loss",
            queries={f"min(lakehouse_time_to_loss_seconds{{{_D}}})": "first"},
            unit="s",
            kind="stat",
            width=4,
            red=3600,
            low=True,
        ),
        Panel(
            title="Cost of a million events",
            queries={"sum(lakehouse_cost_usd_per_million_events)": "all assets"},
            unit="currencyUSD",
            kind="stat",
            width=4,
        ),
    ],
    "Service levels": [
        Panel(
            title="Error budget left",
            queries={f"min by (dataset, objective) (lakehouse_budget_left{{{_D}}})": "{{dataset}} {{objective}}"},
            unit="percentunit",
            red=0,
            low=True,
        ),
        Panel(
            title="Burn rate, one hour",
            queries={
                f'max by (dataset, objective) (lakehouse_burn_rate{{{_D}, window="1h"}})': "{{dataset}} {{objective}}"
            },
            red=14.4,
        ),
        Panel(
            title="From Kafka to Gold",
            queries={
                f'lakehouse_objective_value{{{_D}, objective=~"latency_p50|latency_p95|latency_p99"}}': "{{dataset}} {{objective}}"
            },
            unit="s",
        ),
        Panel(title="Lag", queries={f"sum by (dataset) (lakehouse_lag_records{{{_D}}})": "{{dataset}}"}, unit="short"),
        Panel(
            title="Oldest unread event", queries={f"lakehouse_lag_seconds{{{_D}}}": "{{dataset}}"}, unit="s", red=300
        ),
        Panel(
            title="Age of the newest event",
            queries={f"lakehouse_freshness_seconds{{{_D}}}": "{{dataset}} {{region}}"},
            unit="s",
            red=3600,
        ),
    ],
    "Rows": [
        Panel(
            title="Rows a second",
            queries={f'lakehouse_recent_rows{{{_D}, fate="rows", window="5m"}} / 300': "{{dataset}}"},
            unit="ops",
        ),
        Panel(
            title="By layer and fate",
            queries={"sum by (layer, fate) (lakehouse_rows)": "{{layer}} {{fate}}"},
        ),
        Panel(
            title="Late, of the last hour's rows",
            queries={
                f'lakehouse_recent_rows{{{_D}, fate="late", window="1h"}} / ignoring (fate) '
                f'lakehouse_recent_rows{{{_D}, fate="rows", window="1h"}}': "{{dataset}}"
            },
            unit="percentunit",
        ),
        Panel(
            title="Poison and unknown fields, of the last hour",
            queries={f'lakehouse_recent_rows{{{_D}, fate=~"poison|drifted", window="1h"}}': "{{dataset}} {{fate}}"},
        ),
        Panel(title="Quarantine", queries={f"lakehouse_quarantined_rows{{{_T}}}": "{{table}} {{rule}}"}),
        Panel(title="Waiting for a run", queries={"lakehouse_pending_partitions > 0": "{{layer}}/{{table}}"}),
    ],
    "Serving, runs and cost": [
        Panel(title="Cache behind Gold", queries={"lakehouse_cache_behind_seconds": "{{mart}}"}, unit="s", red=10),
        Panel(
            title="Failed runs, of the last hour",
            queries={'lakehouse_failed_runs{window="1h"}': "{{job}}"},
        ),
        Panel(
            title="Cost of the last day",
            queries={"topk(10, lakehouse_cost_usd)": "{{asset}}"},
            unit="currencyUSD",
        ),
        Panel(title="CPU of the last day", queries={"topk(10, lakehouse_cpu_seconds)": "{{asset}}"}, unit="s"),
        Panel(title="Data files", queries={"sum by (layer) (lakehouse_table_files)": "{{layer}}"}),
        Panel(title="Bytes", queries={"sum by (layer) (lakehouse_table_bytes)": "{{layer}}"}, unit="bytes"),
    ],
    "This exporter": [
        Panel(title="A scrape", queries={"lakehouse_scrape_seconds": "seconds"}, unit="s", red=1),
        Panel(title="What each source took", queries={"lakehouse_source_seconds": "{{source}}"}, unit="s"),
        Panel(
            title="How old what it says is", queries={"lakehouse_source_age_seconds": "{{source}}"}, unit="s", red=60
        ),
    ],
}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(
            {"type": "row", "title": title, "id": len(panels) + 1, "gridPos": {"x": 0, "y": y, "w": _COLUMNS, "h": 1}}
        )
        x, y = 0, y + 1
        for panel in row:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            grid = {"x": x, "y": y, "w": panel.width, "h": _HEIGHT}
            panels.append(_panel(panel, number=len(panels) + 1, grid=grid))
            x += panel.width
        y += _HEIGHT
    return {
        "title": "Lakehouse",
        "uid": "lakehouse",
        "schemaVersion": 39,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [
                {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                {
                    "name": "dataset",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": "label_values(lakehouse_recent_rows, dataset)",
                    "includeAll": True,
                    "multi": True,
                    "current": {"text": "All", "value": "$__all"},
                    "refresh": 2,
                },
            ]
        },
        "panels": panels,
    }


def _panel(panel: Panel, *, number: int, grid: dict[str, int]) -> dict[str, Any]:
    colors = ("red", "green") if panel.low else ("green", "red")
    steps = [{"color": "green", "value": None}]
    if panel.red is not None:
        steps = [{"color": colors[0], "value": None}, {"color": colors[1], "value": panel.red}]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": grid,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": expr, "legendFormat": legend}
            for place, (expr, legend) in enumerate(panel.queries.items())
        ],
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    OUT.write_text(text(), encoding="utf-8")
