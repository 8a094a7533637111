"""Which columns a column comes from, for the UI."""

import dagster as dg

from dagster_project.contract.dtypes import duckdb_type
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Catalog, Dataset, Mart
from dagster_project.naming import asset_key

_Columns = dict[str, list[dg.TableColumnDep]]


def silver_lineage(dataset: Dataset) -> dg.TableColumnLineage:
    """Silver's columns are Bronze's of the same names."""
    bronze = asset_key("bronze", dataset.name)
    return dg.TableColumnLineage(
        {column.name: [dg.TableColumnDep(asset_key=bronze, column_name=column.name)] for column in dataset.columns}
    )


def gold_lineage(mart: Mart, catalog: Catalog) -> dg.TableColumnLineage:
    """A mart's columns, traced through its SQL to the columns of Silver that they are computed from."""
    # Imported late: a run pays for its imports, and only runs of marts need this one.
    from sqlglot.lineage import lineage

    schema: dict[str, object] = {
        "silver": {
            name: {
                DATE_COLUMN: "DATE",
                REGION_COLUMN: "VARCHAR",
                **{column.name: duckdb_type(column.type) for column in catalog.dataset(name).columns},
            }
            for name in mart.inputs
        }
    }
    found: _Columns = {}
    for column in mart.columns:
        leaves = lineage(column.name, mart.sql, dialect="duckdb", schema=schema).walk()
        # Leaves that are not tables are columns computed from no column, such as count(*).
        origins = {
            (leaf.source.name, leaf.name.rpartition(".")[2])
            for leaf in leaves
            if not leaf.downstream and leaf.source.key == "table"
        }
        found[column.name] = [
            dg.TableColumnDep(asset_key=asset_key("silver", table), column_name=name) for table, name in sorted(origins)
        ]
    return dg.TableColumnLineage(found)
