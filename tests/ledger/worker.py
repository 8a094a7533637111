"""What is killed: `python -m tests.ledger.worker produce PAYMENTS RATE`, `… work` without end, or `… drain` to the end."""

from __future__ import annotations

import sys

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.errors import RuleError
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake.storage import Storage
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine
from dagster_project.settings import Settings
from dagster_project.sources.encoding import encoder_of
from dagster_project.sources.producer import publish
from tests.ledger.payments import Payments

SEED = 7
# Of one pass; the marts follow each.
_INGEST_S = 2.0
_DRAIN_S = 600.0


def source_of(catalog: Catalog, payments: int) -> Payments:
    return Payments(dataset=catalog.dataset("payments"), payments=payments, seed=SEED)


def _produce(settings: Settings, catalog: Catalog, *, payments: int, rate: float) -> None:
    source = source_of(catalog, payments)
    publish(
        source,
        topic=source.dataset.topic.name,
        bootstrap=settings.bootstrap_servers,
        progress_group=source.progress_group,
        home=settings.home,
        rate=rate,
        encode=encoder_of(source.dataset, registry=settings.schema_registry_url),
    )


def _work(settings: Settings, catalog: Catalog, *, seconds: float) -> None:
    dataset, storage = catalog.dataset("payments"), Storage.at(settings.lake_uri)
    servers, registry = settings.bootstrap_servers, settings.schema_registry_url
    for _ in ingest(
        dataset,
        bootstrap_servers=servers,
        storage=storage,
        limits=Limits(),
        seconds=seconds,
        registry=registry,
        warn=_tell,
    ):
        pass
    for _ in refine(dataset, storage=storage, keys=None):
        pass
    for mart in catalog.marts:
        try:
            for _ in compute(mart, catalog=catalog, storage=storage, keys=None):
                pass
        except RuleError as refused:
            _tell(f"refused: {refused}")


def _tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    match arguments:
        case ["produce", payments, rate]:
            _produce(settings, catalog, payments=int(payments), rate=float(rate))
        case ["drain"]:
            _work(settings, catalog, seconds=_DRAIN_S)
        case ["work"]:
            while True:
                _work(settings, catalog, seconds=_INGEST_S)
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
