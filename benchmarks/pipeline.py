"""The platform's own pipeline over the retail contracts, driven step by step."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.ground import CONTRACTS
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake.storage import Storage
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Orders from a topic to their mart, with the limits that Dagster's runs have."""

    catalog: Catalog
    dataset: Dataset
    mart: Mart
    storage: Storage
    servers: str

    @classmethod
    def at(cls, uri: Path, *, servers: str, topic: str | None = None) -> Pipeline:
        """The pipeline with its tables there; it reads the contract's own topic where none is named."""
        catalog = load_catalog(CONTRACTS / "retail")
        (dataset,), (mart,) = catalog.datasets, catalog.marts
        if topic is not None:
            dataset = replace(dataset, topic=replace(dataset.topic, name=topic))
        catalog = replace(catalog, datasets=(dataset,))
        return cls(catalog=catalog, dataset=dataset, mart=mart, storage=Storage.at(str(uri)), servers=servers)

    def ingest(self) -> None:
        """All of the topic that Bronze lacks."""
        for _ in ingest(
            self.dataset,
            bootstrap_servers=self.servers,
            storage=self.storage,
            limits=Limits(),
            seconds=math.inf,
            warn=_tell,
        ):
            pass

    def publish(self, *, afresh: bool = False) -> float:
        """Bring Silver and Gold up to date, or compute them anew from all there is; CPU seconds that it took."""
        began = time.process_time()
        self.refine(afresh=afresh)
        self.compute(afresh=afresh)
        return time.process_time() - began

    def refine(self, *, afresh: bool = False) -> None:
        for _ in refine(self.dataset, storage=self.storage, keys=None, afresh=afresh):
            pass

    def compute(self, *, afresh: bool = False) -> None:
        for _ in compute(self.mart, catalog=self.catalog, storage=self.storage, keys=None, afresh=afresh):
            pass


def _tell(warning: str) -> None:
    sys.stderr.write(f"{warning}\n")
