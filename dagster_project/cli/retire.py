"""`lakehouse retire`: the way forward when a topic was deleted and made anew, or the cluster is another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.errors import LakeError, TopicIdentityError
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.contract.model import Catalog, Dataset
    from dagster_project.ingest.cursor import Cursor
    from dagster_project.lake.storage import Layer, Storage


def retire(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Its tables move away.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Move the tables of a topic that is no more to <lake>/retired, so that the new topic is read from its start."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.retire import Retirement, tidy
    from dagster_project.lake.storage import Storage
    from dagster_project.services import orchestrator
    from dagster_project.services.kafka import bootstrap_servers

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    dataset = catalog.dataset(name)
    storage = Storage.at(settings.lake_uri)
    tables = _tables(dataset, catalog)
    with orchestrator.alone(settings):  # sensors would make anew what is being moved
        for layer, table in tables:
            if tidy(storage, layer, table):
                progress(f"{layer}/{table}: tidied up what an earlier move had left")
        moved: dict[str, str] = {}
        if (cursor := _cursor(dataset, storage)) is not None:
            _refuse_unless_another(dataset, cursor, bootstrap_servers(settings))
            retirement = Retirement(storage=storage, cluster_id=cursor.cluster_id, topic_id=cursor.topic_id)
            if not retirement.begun(tables):
                _refuse_if_pending(dataset, catalog, storage)
            listed = ", ".join(f"{layer}/{table}" for layer, table in tables)
            if not yes:
                typer.confirm(f"Move {listed} to {retirement.folder}?", abort=True, err=True)
            for layer, table in tables:
                progress(f"{layer}/{table}: moving")
                if (there := retirement.move(layer, table)) is not None:
                    moved[f"{layer}/{table}"] = there
    if as_json:
        print_json({"dataset": name, "moved": moved})
        return
    for table, there in moved.items():
        console.print(f"{table} is now {there}", markup=False, soft_wrap=True)
    console.print(f"{name} will be read from the start of its topic", style="bold green")


def _tables(dataset: Dataset, catalog: Catalog) -> list[tuple[Layer, str]]:
    """What was computed from the topic, Bronze last: its cursor says that the others are not yet all moved."""
    own: tuple[Layer, ...] = ("quarantine", "silver")
    # Marts too: their cursors name versions of Silver, which will begin at 0 again.
    return [
        *(("gold", mart.name) for mart in catalog.marts_of(dataset.name)),
        ("ledger", dataset.name),
        *((layer, version.table) for version in catalog.versions(dataset.name) for layer in own),
        ("bronze", dataset.name),
    ]


def _cursor(dataset: Dataset, storage: Storage) -> Cursor | None:
    from dagster_project.ingest.cursor import Cursor
    from dagster_project.lake import specs
    from dagster_project.lake.table import Table

    bronze = Table.find(specs.bronze(dataset), storage=storage)
    return None if bronze is None else Cursor.from_table(bronze.cursors())


def _refuse_unless_another(dataset: Dataset, cursor: Cursor, servers: str) -> None:
    from dagster_project.topics.broker import Broker

    topic = Broker(servers).topic(dataset.topic.name)
    if (topic.cluster_id, topic.topic_id) == (cursor.cluster_id, cursor.topic_id):
        raise TopicIdentityError(
            f"topic {topic.name!r} is the one that {dataset.name} was read from",
            expected="a topic that was deleted and made anew, or another cluster",
            remedy="nothing is to be retired; see `lakehouse lag`",
        )


def _refuse_if_pending(dataset: Dataset, catalog: Catalog, storage: Storage) -> None:
    from dagster_project.lake import specs
    from dagster_project.lake.serving import written
    from dagster_project.lake.table import Table
    from dagster_project.refine.inputs import tables_of
    from dagster_project.refine.plan import pending_silver
    from dagster_project.refine.staleness import pending_gold

    marts = catalog.marts_of(dataset.name)
    versions = written(catalog, dataset.name, storage=storage)
    wanted = [specs.bronze(dataset), *map(specs.silver, versions)]
    tables = {f"{spec.layer}/{spec.name}": Table.find(spec, storage=storage) for spec in wanted}
    shown = tables_of(marts, catalog, storage=storage)
    waiting = sum(len(pending_silver(version, tables, with_held=True)) for version in versions) + sum(
        len(pending_gold(mart, shown, catalog=catalog)) for mart in marts
    )
    if waiting:
        raise LakeError(
            f"{waiting} table partitions of {dataset.name} have not been refined from the old topic's events",
            expected="tables that hold everything that was read of it",
            remedy=f"let `lakehouse dev` finish catch_up_{dataset.name}, end it, and run this command again",
        )
