"""From `slaProperties` of a dataset to what it promises, and to how much of a promise may be broken."""

from __future__ import annotations

import datetime as dt
import difflib
from decimal import Decimal

from open_data_contract_standard.model import ServiceLevelAgreementProperty

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Steps
from dagster_project.contract.model import Slo

_SLO = (
    "freshness",
    "freshnessTarget",
    "lag",
    "lagRecords",
    "lagTarget",
    "latency",
    "latencyP50",
    "latencyP95",
    "completeness",
    "availability",
    "budgetWindow",
    "retention",
)
# The percentile that has no name of its own is the one that everybody tries.
_MEANT = {"latencyP99": "latency"}
# The standard has names of its own, such as `frequency`, which are none of the platform's business; one that is this close to
# one of ours is a typing error.
_CLOSE = 0.8
# The longest window that burn is measured over, and a few days less than measurements are kept.
_WINDOW = (dt.timedelta(days=3), dt.timedelta(days=35))


def compile_slo(compiler: Compiler) -> Slo:
    """Service levels of a dataset; what the contract does not say has a default."""
    _names(compiler)
    default = Slo()
    latency = compiler.sla("latency", default.latency)
    slo = Slo(
        freshness=compiler.sla("freshness", default.freshness),
        freshness_target=_share(compiler, "freshnessTarget", default.freshness_target),
        lag=compiler.sla("lag", default.lag),
        lag_records=_records(compiler),
        lag_target=_share(compiler, "lagTarget", default.lag_target),
        latency_p50=compiler.sla("latencyP50", min(default.latency_p50, latency)),
        latency_p95=compiler.sla("latencyP95", min(default.latency_p95, latency)),
        latency=latency,
        completeness=_share(compiler, "completeness", default.completeness),
        availability=_share(compiler, "availability", default.availability),
        window=compiler.sla("budgetWindow", default.window),
        retention=compiler.sla("retention", default.retention),
    )
    if not slo.latency_p50 <= slo.latency_p95 <= slo.latency:
        compiler.problem(
            ("slaProperties",),
            f"latencyP50 {slo.latency_p50}, latencyP95 {slo.latency_p95}, latency {slo.latency}",
            "bounds that do not fall: what holds for more of the events takes no less time",
        )
    if not _WINDOW[0] <= slo.window <= _WINDOW[1]:
        compiler.problem(
            ("slaProperties",), f"budgetWindow {slo.window}", f"{_WINDOW[0].days} to {_WINDOW[1].days} days"
        )
    return slo


def _names(compiler: Compiler) -> None:
    seen = set[str]()
    for index, item in enumerate(compiler.document.model.slaProperties or ()):
        path, name = ("slaProperties", index, "property"), item.property or ""
        near = difflib.get_close_matches(name, _SLO, n=1, cutoff=_CLOSE)
        if name not in _SLO and (name in _MEANT or near):
            compiler.problem(path, repr(name), repr(_MEANT.get(name) or near[0]))
        if name in _SLO and name in seen:
            compiler.problem(path, f"{name!r} again", "each service level once")
        seen.add(name)


def _level(compiler: Compiler, name: str, unit: str) -> tuple[Steps, ServiceLevelAgreementProperty] | None:
    for index, item in enumerate(compiler.document.model.slaProperties or ()):
        if item.property == name:
            path: Steps = ("slaProperties", index)
            if item.unit == unit:
                return path, item
            compiler.problem((*path, "unit"), repr(item.unit), unit)
            return None
    return None


def _share(compiler: Compiler, name: str, default: float) -> float:
    """A percentage as a share; below 100, as a promise that may never be broken has no budget to reckon with."""
    found = _level(compiler, name, "percent")
    if found is None:
        return default
    path, item = found
    if not isinstance(item.value, (int, float)) or isinstance(item.value, bool) or not 0 < item.value < 100:
        compiler.problem((*path, "value"), repr(item.value), "a percentage above 0 and below 100, such as 99.5")
        return default
    return float(Decimal(str(item.value)) / 100)  # 99.9 is 0.999, which 99.9 / 100 is not


def _records(compiler: Compiler) -> int | None:
    found = _level(compiler, "lagRecords", "records")
    if found is None:
        return None
    path, item = found
    # JSON Schema counts 1000.0 among the whole numbers, and the standard's model hands out floats.
    if not isinstance(item.value, (int, float)) or isinstance(item.value, bool) or item.value < 1 or item.value % 1:
        compiler.problem((*path, "value"), repr(item.value), "a whole number of at least 1")
        return None
    return int(item.value)
