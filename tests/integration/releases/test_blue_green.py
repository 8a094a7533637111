"""A contract gains a column and a major version while producers send, runs write, and a reader does not stop."""

from __future__ import annotations

import threading

import pytest

from dagster_project.refine.rollout import retire
from tests.evolution.course import check_against_what_was_sent, evolve
from tests.evolution.scene import NAME, NEXT, Scene, scene_of

EVENTS, KEYS = 12_000, 400


@pytest.fixture(scope="module")
def scene(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return scene_of(tmp_path_factory.mktemp("releases"), servers=broker, keys=KEYS)


def test_a_reader_in_a_loop_sees_no_error_no_gap_and_no_doubled_row(scene: Scene) -> None:
    course = evolve(scene, events=EVENTS, report=print)
    assert course.reader.problems == []
    assert course.reader.served == {1, 2}
    assert course.audited == []
    assert course.comparison.same
    check_against_what_was_sent(scene)
    assert [(item.dataset, item.problems, item.unaccounted) for item in scene.accounts(payloads=True)] == [
        ("readings", (), 0),
        ("readings_v2", (), 0),
    ]


def test_then_the_older_version_is_retired_and_the_newer_contract_is_enough(scene: Scene) -> None:
    retire(scene.catalog, NAME, storage=scene.storage)
    scene.agree(NEXT)
    more = EVENTS + 3 * KEYS
    scene.send(more, stop=threading.Event(), most=lambda: more)
    scene.catch_up()
    check_against_what_was_sent(scene)
    assert [(item.dataset, item.problems) for item in scene.accounts(payloads=True)] == [("readings_v2", ())]
