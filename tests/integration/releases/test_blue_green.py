"""A major version takes over, and is taken back, while producers send, runs write and a reader does not stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.lake.query import query
from dagster_project.refine.comparison import compare_rows
from dagster_project.refine.rollout import retire, start, take_over
from tests.integration.releases.scene import Scene, scene_of


@pytest.fixture(scope="module")
def scene(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return scene_of(tmp_path_factory.mktemp("releases"), servers=broker)


def test_a_reader_in_a_loop_sees_no_error_no_gap_and_no_doubled_row(scene: Scene) -> None:
    catalog, storage = scene.catalog, scene.storage
    with scene.sending() as sent, scene.working(), scene.reading() as reader:
        sent.wait_for(1_000)
        reader.wait_for(3)
        start(catalog, scene.name, storage=storage)
        sent.wait_for(2_000)
        for back in (False, True, False):
            take_over(catalog, scene.name, back=back, storage=storage)
            sent.wait_for(sent.count + 500)
            reader.wait_for(reader.reads + 3)
    scene.catch_up()
    assert reader.problems == []
    assert reader.served == {1, 2}
    accounts = scene.accounts()
    assert [(account.dataset, account.problems, account.unaccounted) for account in accounts] == [
        ("readings", (), 0),
        ("readings_v2", (), 0),
    ]
    older, newer = catalog.versions(scene.name)
    assert compare_rows(older, newer, storage=storage, sample=5).same
    check_against_what_was_sent(scene, sent.count)


def check_against_what_was_sent(scene: Scene, sent: int) -> None:
    sql = "SELECT id, height, level, unit FROM silver.readings"
    found = {row[0]: row[1:] for row in query(sql, catalog=scene.catalog, storage=scene.storage).iter_rows()}
    assert found == scene.newest(sent)
    totals = query("SELECT sum(readings), sum(total) FROM gold.levels", catalog=scene.catalog, storage=scene.storage)
    assert totals.row(0) == (len(found), sum(row[0] for row in found.values()))


def test_then_the_older_one_is_retired_and_its_contract_goes(scene: Scene, tmp_path: Path) -> None:
    retire(scene.catalog, scene.name, storage=scene.storage)
    alone = scene.with_newer_contract_alone(tmp_path)
    sent = alone.send_more(300)
    alone.catch_up()
    check_against_what_was_sent(alone, sent)
    assert [(account.dataset, account.problems) for account in alone.accounts()] == [("readings_v2", ())]
