"""All faults, by name."""

from __future__ import annotations

from itertools import chain

from tests.chaos.fault import Fault, named
from tests.chaos.faults import (
    brokers,
    compaction,
    dagster,
    disk,
    kills,
    outbox,
    race,
    retention,
    store,
    transactions,
)

_MODULES = (kills, outbox, compaction, store, brokers, race, dagster, transactions, retention, disk)
FAULTS: dict[str, Fault] = named(chain.from_iterable(module.faults() for module in _MODULES))
