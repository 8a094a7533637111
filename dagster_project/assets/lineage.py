"""Which columns a column comes from, for the UI."""

import dagster as dg

from dagster_project.contract.lineage import origins
from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.naming import asset_key


def silver_lineage(dataset: Dataset) -> dg.TableColumnLineage:
    """Silver's columns are Bronze's of the same names."""
    bronze = asset_key("bronze", dataset.name)
    return dg.TableColumnLineage(
        {column.name: [dg.TableColumnDep(asset_key=bronze, column_name=column.name)] for column in dataset.published}
    )


def gold_lineage(mart: Mart, catalog: Catalog) -> dg.TableColumnLineage:
    """A mart's columns, traced through its SQL to the columns of Silver and Gold that they are computed from."""
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(asset_key=asset_key(layer, _table(layer, table, catalog)), column_name=name)
                for layer, table, name in found
            ]
            for column, found in origins(mart, catalog).items()
        }
    )


def _table(layer: str, name: str, catalog: Catalog) -> str:
    return catalog.dataset(name).table if layer == "silver" else name
