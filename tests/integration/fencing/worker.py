"""One run in a process of its own: ingest, refine or compute, which may be stopped on the way. Prints what became of it.

Arguments: what to do, a folder with the contracts, the lake's root, the brokers, where to wait (or `-`), a folder for
signs, and the shard of the topic that an ingest reads. The worker leaves `waiting-<pid>` among the signs when it has got so far,
and goes on once there is a file `go`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dagster_project.contract.loader import load_catalog
from dagster_project.errors import LakehouseError
from dagster_project.ingest import bronze
from dagster_project.ingest.fetch import Limits
from dagster_project.ingest.shards import Shard
from dagster_project.lake.storage import Storage
from dagster_project.refine import gold, silver

# Where a run holds what it has read and has not written it yet; `numbered`: but knows under which batch id it will.
MOMENTS = {
    "fetched": (bronze, "place"),
    "judged": (silver, "audited"),
    "computed": (gold, "run_sql"),
    "numbered": (bronze, "_still_ours"),
}
ROWS = 500


def main(what: str, contracts: str, uri: str, servers: str, moment: str, signs: str, shard: str) -> None:
    catalog, storage = load_catalog(Path(contracts)), Storage.at(uri)
    dataset = catalog.datasets[0]
    if moment != "-":
        module, name = MOMENTS[moment]
        setattr(module, name, _after_waiting(getattr(module, name), Path(signs)))
    done, error, warnings = 0, None, list[str]()
    try:
        match what:
            case "ingest":
                run: Any = bronze.ingest(
                    dataset,
                    bootstrap_servers=servers,
                    storage=storage,
                    limits=Limits(rows=ROWS),
                    seconds=60,
                    shard=Shard.parse(shard),
                    warn=warnings.append,
                )
            case "refine":
                run = silver.refine(dataset, storage=storage, keys=None)
            case _:
                run = gold.compute(catalog.marts[0], catalog=catalog, storage=storage, keys=None)
        for _ in run:
            done += 1
    except LakehouseError as problem:
        error = type(problem).__name__
    sys.stdout.write(json.dumps({"done": done, "error": error, "warnings": warnings}) + "\n")


def _after_waiting(function: Callable[..., Any], signs: Path) -> Callable[..., Any]:
    """The function, which waits at its first call until all may go on."""

    def waits(*arguments: Any, **options: Any) -> Any:
        sign = signs / f"waiting-{os.getpid()}"
        if not sign.exists():
            sign.touch()
            while not (signs / "go").exists():
                time.sleep(0.01)
        return function(*arguments, **options)

    return waits


if __name__ == "__main__":
    main(*sys.argv[1:])
