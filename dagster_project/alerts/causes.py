"""What follows from what: a dead broker is one alert, however many datasets lag for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dagster_project.alerts.alert import Id


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One kind of alert follows from another.

    Attributes:
        shared: how many parts their scopes must have in common: 0: the cause is the whole platform's; 1: it is one
            dataset's; 2: a dataset's and a region's.
        objectives: only of these, by the last part of the effect's scope; empty: whatever it is.
    """

    cause: str
    effect: str
    shared: int = 0
    objectives: frozenset[str] = frozenset()

    def holds(self, cause: Id, effect: Id) -> bool:
        """Whether the one follows from the other."""
        if (cause.alert, effect.alert) != (self.cause, self.effect):
            return False
        parts = effect.scope.split("/")
        # What is of the whole platform is shared by all of it.
        common = cause.scope.split("/")[: self.shared] if cause.scope else []
        return common == parts[: len(common)] and (not self.objectives or parts[-1] in self.objectives)


_LAG = frozenset({"lag_records", "lag_seconds"})
_LATENCY = frozenset({"latency_p50", "latency_p95", "latency_p99"})
_LATE = _LATENCY | {"freshness"}

EDGES: tuple[Edge, ...] = (
    # Without a broker nothing is read, and nobody can say where an offset is.
    Edge(cause="broker-down", effect="failed-run"),
    Edge(cause="broker-down", effect="lag"),
    Edge(cause="broker-down", effect="slo-burn"),
    Edge(cause="broker-down", effect="ledger-imbalance"),
    # Without the store nothing is written, and nothing can be published from it.
    Edge(cause="store-down", effect="slow-store"),
    Edge(cause="store-down", effect="failed-run"),
    Edge(cause="store-down", effect="lag"),
    Edge(cause="store-down", effect="slo-burn"),
    Edge(cause="store-down", effect="stale-cache"),
    Edge(cause="store-down", effect="ledger-imbalance"),
    Edge(cause="slow-store", effect="failed-run"),
    Edge(cause="slow-store", effect="lag"),
    Edge(cause="slow-store", effect="slo-burn"),
    Edge(cause="slow-store", effect="stale-cache"),
    # One region.
    Edge(cause="silent-region", effect="slo-burn", shared=2, objectives=frozenset({"freshness"})),
    Edge(cause="breaker-open", effect="slo-burn", shared=2, objectives=frozenset({"freshness", "availability"})),
    # One dataset: latency and completeness are of all of its regions.
    Edge(cause="breaker-open", effect="slo-burn", shared=1, objectives=_LATENCY | {"completeness"}),
    Edge(cause="poison-rate", effect="slo-burn", shared=1, objectives=frozenset({"completeness"})),
    Edge(cause="ledger-imbalance", effect="failed-run", shared=1),
    Edge(cause="ledger-imbalance", effect="slo-burn", shared=1, objectives=frozenset({"completeness"})),
    Edge(cause="failed-run", effect="lag", shared=1),
    Edge(cause="failed-run", effect="slo-burn", shared=1),
    Edge(cause="lag", effect="slo-burn", shared=1, objectives=_LAG | _LATE),
    Edge(cause="stale-cache", effect="slo-burn", shared=1, objectives=_LATE | {"availability"}),
)


_CAUSES = {effect: [edge for edge in EDGES if edge.effect == effect] for effect in {edge.effect for edge in EDGES}}


def root(effect: Id, active: Collection[Id]) -> Id:
    """What something follows from in the end, of what is wrong now; itself, where that explains nothing."""
    for edge in _CAUSES.get(effect.alert, ()):
        cause = min((other for other in active if edge.holds(other, effect)), default=None)
        if cause is not None:
            return root(cause, active)
    return effect
