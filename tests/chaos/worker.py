"""One short-lived run of the platform, as a sensor would launch it: `python -m tests.chaos.worker STEP…`.

Exit code 3 and the error's name on standard error where the platform refuses.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import LakehouseError
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake import specs
from dagster_project.lake.compaction import compact
from dagster_project.lake.storage import Storage
from dagster_project.outbox import publish as outbox
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine
from dagster_project.settings import Settings
from dagster_project.sources.orders import Orders
from dagster_project.sources.producer import publish

REFUSED = 3
# Far more than in life, so that each slice has poison and rows that break a rule.
POISON = 0.04
# As long as a run of Dagster goes on.
_SECONDS = 60.0


def _tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")


def _ingest(settings: Settings, _: Catalog, dataset: Dataset, storage: Storage) -> None:
    batches = ingest(
        dataset,
        bootstrap_servers=settings.bootstrap_servers,
        storage=storage,
        limits=Limits(),
        seconds=_SECONDS,
        warn=_tell,
    )
    for batch in batches:
        _tell(f"batch {batch.batch_id}: {batch.events} events, {batch.poison} poison")


def _refine(_: Settings, catalog: Catalog, dataset: Dataset, storage: Storage) -> None:
    for refined in refine(dataset, storage=storage, keys=None):
        _tell(f"refined {refined.written}")


def _compute(_: Settings, catalog: Catalog, dataset: Dataset, storage: Storage) -> None:
    for mart in catalog.marts_of(dataset.name):
        for computed in compute(mart, catalog=catalog, storage=storage, keys=None):
            _tell(f"computed {computed.rows}")


def _produce(settings: Settings, _: Catalog, dataset: Dataset, storage: Storage) -> None:
    events, seed = int(os.environ["CHAOS_EVENTS"]), int(os.environ["CHAOS_SEED"])
    source = Orders(dataset=dataset, events=events, seed=seed, poison=POISON)
    publish(
        source,
        topic=dataset.topic.name,
        bootstrap=settings.bootstrap_servers,
        progress_group=source.progress_group,
        home=settings.home,
        rate=float(os.environ["CHAOS_RATE"]),
    )


def _publish(settings: Settings, _: Catalog, dataset: Dataset, storage: Storage) -> None:
    published = outbox.publish(dataset, storage=storage, bootstrap_servers=settings.bootstrap_servers)
    _tell(f"published {published.letters}")


def _compact(_: Settings, catalog: Catalog, dataset: Dataset, storage: Storage) -> None:
    marts = [specs.gold(mart) for mart in catalog.marts_of(dataset.name)]
    for spec in (specs.bronze(dataset), specs.silver(dataset), specs.quarantine(dataset), *marts):
        for compacted in compact(spec, storage=storage):
            _tell(compacted)


STEPS: dict[str, Callable[[Settings, Catalog, Dataset, Storage], None]] = {
    "ingest": _ingest,
    "refine": _refine,
    "compute": _compute,
    "publish": _publish,
    "compact": _compact,
    "produce": _produce,
}


def main(steps: list[str]) -> int:
    if size := int(os.environ.get("CHAOS_FILE_SIZE", "0")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    storage = Storage.at(settings.lake_uri)
    try:
        for step in steps:
            for dataset in catalog.datasets:
                STEPS[step](settings, catalog, dataset, storage)
    except LakehouseError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
