"""The catalog as static pages: one for each dataset and mart, and an index. No script, no request to anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jinja2

from dagster_project.contract.lineage import origins
from dagster_project.contract.model import Catalog, Dataset, Mart, WriteMode
from dagster_project.pages.words import duration, lines

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("dagster_project.pages", "."),
    autoescape=True,  # names and texts of contracts are anybody's
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
Facts = list[tuple[str, str]]
_REFUSAL = {"cp": "nothing of the batch is published", "ap": "its table partition stays as it was"}
_STAYS: dict[WriteMode, str] = {
    "append": "the first delivery",
    "upsert": "the newest version",
    "history": "every version, deletes among them",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One station of the data; `page` is empty where there is none of its own."""

    name: str
    page: str = ""


def write_pages(catalog: Catalog, folder: Path) -> list[Path]:
    """Write all pages; returns them, the index first.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "index.html": _render(
            "index.html", "Contracts", datasets=catalog.every_version(), marts=catalog.marts, page=_page
        )
    }
    pages |= {_page(version): _dataset(version, catalog) for version in catalog.every_version()}
    pages |= {_page(mart): _mart(mart, catalog) for mart in catalog.marts}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in pages]


def _render(template: str, title: str, **values: object) -> str:
    return _TEMPLATES.get_template(template).render(title=title, **values)


def _page(contract: Dataset | Mart) -> str:
    # A dataset and a mart may have one name.
    return f"dataset-{contract.table}.html" if isinstance(contract, Dataset) else f"mart-{contract.name}.html"


def _dataset(dataset: Dataset, catalog: Catalog) -> str:
    slo = dataset.slo
    records = "" if slo.lag_records is None else f" and {slo.lag_records:,} records"
    facts: Facts = [
        ("Topic", f"{dataset.topic.name}, {dataset.topic.partitions} Kafka partitions"),
        ("Kept on the broker", duration(dataset.topic.retention)),
        ("Key", ", ".join(dataset.merge_key)),
        ("Of one key stays", _STAYS[dataset.write_mode]),
        ("Event time", dataset.event_time),
        ("Table partitions", f"UTC date of {dataset.partition_time} × {dataset.region} ({', '.join(dataset.regions)})"),
        ("From", str(dataset.start_date)),
        ("Allowed lateness", duration(dataset.allowed_lateness)),
        *_horizon(dataset),
        ("Idle, and not waited for, after", duration(dataset.idle_after)),
        *_hot_keys(dataset),
    ]
    levels: Facts = [
        ("Freshness", duration(slo.freshness)),
        ("Fresh", f"{_percent(slo.freshness_target)} of the time"),
        ("Lag", f"{duration(slo.lag)}{records}, {_percent(slo.lag_target)} of the time"),
        (
            "Visible in Gold",
            f"50 % within {duration(slo.latency_p50)}, 95 % {duration(slo.latency_p95)}, 99 % {duration(slo.latency)}",
        ),
        ("Published of what is received", _percent(slo.completeness)),
        ("Available", _percent(slo.availability)),
        ("Reckoned over", duration(slo.window)),
        ("Priority", dataset.priority),
        ("Runs that read the topic at once", str(dataset.shards)),
        ("Kept in Bronze", duration(slo.retention)),
        ("Rows that may break a rule", f"{dataset.max_bad_rate:.1%}"),
        ("A region is held back above", f"{dataset.breaker.bad_rate:.1%} bad rows"),
    ]
    flow = [Step(name=dataset.topic.name), Step(name=f"bronze/{dataset.name}"), Step(name=f"silver/{dataset.table}")]
    flow += [Step(name=f"gold/{mart.name}", page=_page(mart)) for mart in catalog.marts_of(dataset.name)]
    return _render(
        "contract.html",
        f"{dataset.name}: dataset",
        item=dataset,
        kind="Dataset",
        facts=facts,
        levels=levels,
        flow=flow,
        lines=list(lines(dataset.columns)),
        rules=dataset.rules,
        table_rules=dataset.table_rules,
        statistics=dataset.statistics,
        lineage={},
        sql="",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.6g} %"


def _horizon(dataset: Dataset) -> Facts:
    if dataset.lateness_horizon is None:
        return []
    fate = "kept and counted" if dataset.quarantined_from is None else "quarantined"
    return [("Beyond the lateness horizon", f"more than {duration(dataset.lateness_horizon)} late: {fate}")]


def _hot_keys(dataset: Dataset) -> Facts:
    hot = dataset.hot_keys
    if hot is None:
        return []
    return [("Hot keys", f"{hot.column}: {', '.join(hot.values) or 'none known'}, {hot.salts} salts each")]


def _mart(mart: Mart, catalog: Catalog) -> str:
    flow = [
        Step(name=item.table, page=_page((catalog.dataset if item.kind == "dataset" else catalog.mart)(item.name)))
        for item in mart.inputs
    ]
    return _render(
        "contract.html",
        f"{mart.name}: mart",
        item=mart,
        kind="Mart",
        facts=[
            ("Key", ", ".join(mart.merge_key)),
            ("Table partitions", " × ".join(mart.partitioned_by) or "none"),
            ("Where a rule is broken", _REFUSAL[mart.consistency]),
            ("Rows that were published", "stay as they are" if mart.append_only else "may change"),
        ],
        levels=[("Freshness", duration(mart.freshness))],
        flow=[*flow, Step(name=f"gold/{mart.name}")],
        lines=list(lines(mart.columns)),
        rules=(),
        table_rules=mart.rules,
        statistics=(),
        lineage=origins(mart, catalog),
        sql=mart.sql,
    )
