"""Which job computes what: a mart is computed with its dataset's Silver, by its dataset's catch-up, or by a job of its own."""

from __future__ import annotations

from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Catalog, Dataset, Mart, MartInput


def refine_job_name(dataset: Dataset) -> str:
    return f"refine_{dataset.table}"


def aggregate_job_name(mart: Mart) -> str:
    return f"aggregate_{mart.name}"


def catch_up_job_name(dataset: Dataset) -> str:
    return f"catch_up_{dataset.table}"


def home(catalog: Catalog, mart: Mart) -> Dataset | None:
    """The dataset whose catch-up computes a mart: the one that it comes from. One that comes from several has its own job.

    Of two versions the older one's run computes the marts, whichever serves.
    """
    origins = catalog.origins(mart)
    return catalog.dataset(next(iter(origins))) if len(origins) == 1 else None


def by_rectangle(catalog: Catalog, dataset: Dataset) -> list[Mart]:
    """Marts with the dataset's own table partitions, computed in the same run as its Silver; of two versions the older's."""
    layout = (DATE_COLUMN, REGION_COLUMN)
    alone = (MartInput(name=dataset.name),)
    if dataset in catalog.successors:
        return []
    return [mart for mart in catalog.marts if mart.inputs == alone and mart.partitioned_by == layout]


def aggregated(catalog: Catalog) -> list[Mart]:
    """Marts with a job of their own: all others; each after those that it reads."""
    with_silver = {mart.name for dataset in catalog.datasets for mart in by_rectangle(catalog, dataset)}
    return [mart for mart in catalog.marts if mart.name not in with_silver]
