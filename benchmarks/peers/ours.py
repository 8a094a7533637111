"""The platform itself, with all that it always does: row rules, poison, quarantine, cursors, the ledger of gaps.

In one process and in the order of a run that catches up: Bronze until the topic is drained, then all of Silver and Gold
that is older than its input. Limits are those of the assets.
"""

from __future__ import annotations

from importlib import import_module

from deltalake import DeltaTable

from benchmarks.peers.protocol import Drain, Task, serve
from benchmarks.pipeline import Pipeline

# Loaded in the process that runs are forked off.
PRELOADED = ("dagster_project.ingest.warm", "dagster_project.topics.feed")
_TABLES = {"bronze": "bronze/orders", "silver": "silver/orders", "gold": "gold/revenue_daily"}


def prepare(task: Task) -> Drain:
    for name in PRELOADED:
        import_module(name)
    pipeline = Pipeline.at(task.out, servers=task.servers, topic=task.topic)

    def drain() -> dict[str, int]:
        pipeline.ingest()
        pipeline.publish()
        # From the logs of the tables, which say it of each file.
        return {f"rows_{name}": DeltaTable(task.out / place).count() for name, place in _TABLES.items()}

    return drain


if __name__ == "__main__":
    serve(prepare)
