"""The process that runs are forked off, with what they share imported. Imports nothing itself, so that it can start first."""

import os
from multiprocessing import forkserver, get_context

# Imported once and shared by all runs. None of these starts a thread, for threads do not survive a fork: polars, Arrow
# and deltalake do, and are left to the run, as are the contracts, which a run should read as they are now.
PRELOADED = (
    "dagster_project.launcher.worker",
    "dagster_project.ingest.warm",
    "dagster_project.variables.rules",
    "dagster._core.storage.event_log",
    "dagster._core.storage.runs",
    "dagster._core.storage.schedules",
    "dagster._core.run_coordinator.queued_run_coordinator",
    "confluent_kafka",
    "duckdb",
    "jsonschema",
    "kafka.net.compat",
    "kafka.protocol.consumer",
    "pybreaker",
    "redis",
    "s3fs",
    "sqlglot.lineage",
    "structlog",
)
# polars' allocator gives memory back to the system half a second after its last use, and what is larger than 8 MiB at once, and
# asks for it again with the next batch: a tenth of a run's CPU time went into the kernel's zeroing of pages. A run holds on to
# it for ten seconds: with a minute, draining 20 million events took 1.6 GiB at the most, not 1.3. numpy's linear algebra, which
# nobody uses here, would have a thread for each core.
ECONOMY = {
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:10000,muzzy_decay_ms:10000,oversize_threshold:0",
    "OPENBLAS_NUM_THREADS": "1",
}
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(list(PRELOADED))


def start() -> None:
    """Start it, unless it runs; returns before it has imported anything."""
    for name, value in ECONOMY.items():
        os.environ.setdefault(name, value)
    forkserver.ensure_running()
