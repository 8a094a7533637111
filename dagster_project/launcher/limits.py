"""How long a run may take, as tags that Dagster's monitoring reads."""

from __future__ import annotations

from collections.abc import Iterable

from dagster_project.contract.model import Mart

# Ingest ends by itself after 180 s and one batch, catching up likewise, and both then tell the UI for up to a minute.
# What runs for longer hangs. Work is committed batch by batch: a run that is ended costs the batch in its hands.
BOUNDED = {"dagster/max_runtime": "300"}
# Accounting reads every coordinate and keeps nothing if it is ended: millions of rows a minute, so a hundred million.
BOUNDED_ACCOUNTING = {"dagster/max_runtime": "3600"}
# A job on a cluster commits at its end alone, so a run that is ended costs all of it; a cluster that has to be started first takes
# minutes for that. What takes longer than an hour is for a run by hand, which has no limit.
BOUNDED_CLUSTER = {"dagster/max_runtime": "3600"}


def bounded(marts: Iterable[Mart]) -> dict[str, str]:
    """The limit of a run that computes these marts."""
    return BOUNDED_CLUSTER if any(mart.engine == "spark" for mart in marts) else BOUNDED
