"""Which columns a mart's column comes from, read off its SQL."""

from __future__ import annotations

from dagster_project.contract.dtypes import duckdb_type
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Catalog, Mart


def origins(mart: Mart, catalog: Catalog) -> dict[str, list[tuple[str, str]]]:
    """By column of the mart, the datasets and columns of Silver that it is computed from; none for `count(*)`."""
    # Takes a third of a second to import, and few processes need it.
    from sqlglot.lineage import lineage

    schema: dict[str, object] = {
        "silver": {
            name: {
                DATE_COLUMN: "DATE",
                REGION_COLUMN: "VARCHAR",
                # As readers have them: columns of both versions, and of what was renamed both names.
                **{
                    column_name: duckdb_type(column.type)
                    for version in catalog.versions(name)
                    for column in version.published
                    for column_name in filter(None, (column.renamed_from, column.name))
                },
            }
            for name in mart.datasets
        }
    }
    found: dict[str, list[tuple[str, str]]] = {}
    for column in mart.columns:
        leaves = lineage(column.name, mart.sql, dialect="duckdb", schema=schema).walk()
        tables = (leaf for leaf in leaves if not leaf.downstream and leaf.source.key == "table")
        found[column.name] = sorted({(leaf.source.name, leaf.name.rpartition(".")[2]) for leaf in tables})
    return found
