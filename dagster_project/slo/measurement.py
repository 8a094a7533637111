"""One value of one objective, and what it counts for."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_project.contract.model import Dataset
from dagster_project.slo.objectives import Name


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured of an objective.

    Attributes:
        region: `None` stands for all of them.
        value: `None` if it could not be measured.
        bound: as the contract had it then; `None`: nothing is promised.
        good, bad: how many events or moments kept to it, and how many did not.
    """

    dataset: str
    region: str | None
    objective: Name
    value: float | None
    bound: float | None
    good: int
    bad: int


def at_most(
    dataset: Dataset, objective: Name, value: float | None, bound: float | None, *, region: str | None = None
) -> Measurement:
    """A moment, which is good if the value is within its bound; one that could not be measured is bad.

    Where nothing is promised nothing is counted.
    """
    good = value is not None and bound is not None and value <= bound
    return Measurement(
        dataset=dataset.name,
        region=region,
        objective=objective,
        value=value,
        bound=bound,
        good=int(good),
        bad=int(bound is not None and not good),
    )
