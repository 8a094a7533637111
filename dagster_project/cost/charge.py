"""From what was used to dollars."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_project.cost.prices import Prices
from dagster_project.lake.meter import Used

GB = 2**30
_HOUR_S = 3600
_MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Charge:
    """Dollars.

    Attributes:
        machine: CPU-seconds at the price of a vCPU on demand, of Glue or of EMR. What it costs while it idles is not in it.
        store: what was added, as long kept as the price book says; what a table has no more counts against it.
        requests: of the store.
    """

    machine: float
    store: float
    requests: float

    @property
    def usd(self) -> float:
        return self.machine + self.store + self.requests


def charge(used: Used, prices: Prices, *, engine: str = "local") -> Charge:
    """What something costs that one engine did."""
    store = prices.store
    return Charge(
        machine=used.cpu_seconds / _HOUR_S * vcpu_hour(prices, engine),
        # Expiry and vacuum add nothing, and what they take away was paid for when it was written.
        store=max(0, used.bytes_out - used.bytes_removed) / GB * store.gb_month * store.months,
        requests=(used.requests_put * store.thousand_puts + used.requests_get * store.thousand_gets) / 1000,
    )


def vcpu_hour(prices: Prices, engine: str) -> float:
    """What an hour of a vCPU costs where an engine works; the platform's own machine, unless it is Glue or EMR."""
    match engine:
        case "glue":
            return prices.glue.dpu_hour / prices.glue.dpu_vcpus
        case "emr":
            return (prices.emr.node_hour + prices.emr.service_hour) / prices.emr.node_vcpus
        case _:
            return prices.vm.vcpu_hour


def per_million(usd: float, events: float) -> float | None:
    """Dollars for a million events; `None` where there are none."""
    return usd / events * _MILLION if events else None
