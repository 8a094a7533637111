"""The state of alerts in the lake, and on this machine while the lake does not answer."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from dagster_project.alerts import journal
from dagster_project.alerts.alert import Alert, Condition
from dagster_project.alerts.book import Progress
from dagster_project.alerts.config import Config, Route
from dagster_project.alerts.decide import Memory, Seen
from dagster_project.alerts.deliver import LEASE
from dagster_project.alerts.journal import history, open_alerts
from dagster_project.alerts.kinds import AWAY, KINDS
from dagster_project.alerts.message import Message
from dagster_project.alerts.sink import Sink
from dagster_project.alerts.watch import Report, watch
from dagster_project.contract.model import Catalog
from dagster_project.errors import SinkError, StaleCursorError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from tests.unit.alerts.platform import START, TICK, condition

BROKER = replace(condition("broker-down"), since=START - dt.timedelta(minutes=1))
LAG = replace(condition("lag", "readings", severity="warning"), since=START - dt.timedelta(minutes=5))


@dataclass(kw_only=True)
class Inbox:
    """A sink that keeps what it is sent, or refuses it."""

    refuses: bool = False
    got: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> None:
        if self.refuses:
            raise SinkError("it is full")
        self.got.append(message)

    def told(self) -> list[tuple[str, str]]:
        return [(str(message.alert.id), message.alert.state) for message in self.got]


@dataclass(kw_only=True)
class Post:
    """A platform that is looked at every ten seconds."""

    catalog: Catalog
    storage: Storage
    path: Path
    sinks: dict[str, Sink]
    routes: tuple[Route, ...] = ()
    now: dt.datetime = START
    memory: Memory = field(default_factory=Memory)
    store_up: bool = True

    def look(self, *conditions: Condition, after: dt.timedelta = TICK) -> Report:
        report = watch(
            Seen(conditions=conditions),
            storage=self.storage if self.store_up else None,
            path=self.path,
            catalog=self.catalog,
            config=Config(sinks=self.sinks, routes=self.routes),
            memory=self.memory,
            now=self.now,
        )
        self.memory = report.memory
        self.now += after
        return report


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def post(catalog: Catalog, tmp_path: Path, inbox: Inbox) -> Post:
    return Post(
        catalog=catalog,
        storage=Storage.at(str(tmp_path / "lake")),
        path=tmp_path / "home" / "alerts.json",
        sinks={"inbox": inbox},
    )


def resolve(post: Post) -> None:
    for _ in range(8):
        post.look()


def ids(alerts: tuple[Alert, ...]) -> list[str]:
    return [str(alert.id) for alert in alerts]


def test_an_alert_is_in_the_lake_and_told_once(post: Post, inbox: Inbox) -> None:
    for _ in range(3):
        post.look(BROKER)
    (found,) = open_alerts(post.storage)
    assert (found.id, found.state, found.since, found.severity) == (
        ("broker-down", ""),
        "new",
        BROKER.since,
        "critical",
    )
    assert inbox.told() == [("broker-down", "new")]
    resolve(post)
    assert open_alerts(post.storage) == ()
    assert inbox.told() == [("broker-down", "new"), ("broker-down", "resolved")]
    rows = history(post.storage, START - dt.timedelta(days=1))
    assert [(row.sequence, row.state) for row in rows] == [(1, "new"), (2, "resolved")]
    assert history(post.storage, rows[1].at) == rows[1:]
    table = Table.open(specs.alerts(), storage=post.storage).rows().sort("sequence").collect()
    assert table["runbook"].to_list() == ["docs/runbooks/broker-down.md"] * 2
    assert table["event_date"].to_list() == [row.at.date() for row in rows]


def test_nothing_is_written_while_nothing_changes(post: Post) -> None:
    post.look(BROKER)
    version = Table.open(specs.alerts(), storage=post.storage).version
    written = post.path.stat().st_mtime_ns
    for _ in range(5):
        post.look(BROKER)
    assert Table.open(specs.alerts(), storage=post.storage).version == version
    assert post.path.stat().st_mtime_ns == written


def test_what_was_written_here_need_not_be_read_and_what_others_wrote_is(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.look(BROKER)
    reads = list[int]()
    real = journal._read
    monkeypatch.setattr(journal, "_read", lambda *args: reads.append(1) or real(*args))
    post.look(BROKER, replace(condition("poison-rate", "b"), since=BROKER.since))
    post.look(BROKER)
    assert reads == []
    replace(post, path=post.path.with_name("other.json"), memory=Memory()).look(
        replace(LAG, alert="schema-drift"), BROKER
    )
    journal._BOOKS.clear()  # as of another process
    book = journal.read(post.storage, ("inbox",))
    assert len(reads) == 1
    assert ids(book.open) == ["broker-down", "poison-rate b", "schema-drift readings"]
    journal._BOOKS.clear()
    assert journal.read(post.storage, ("inbox",)) == book


def test_the_critical_ones_come_first_then_the_oldest(post: Post) -> None:
    drift = replace(condition("schema-drift", "a", severity="warning"), since=START - dt.timedelta(hours=2))
    poison = replace(condition("poison-rate", "b"), since=START - dt.timedelta(hours=1))
    post.look(LAG, drift, poison, BROKER)
    post.look(LAG, drift, poison, BROKER)
    assert ids(open_alerts(post.storage)) == ["poison-rate b", "broker-down", "schema-drift a"]
    (broker,) = (alert for alert in open_alerts(post.storage) if alert.alert == "broker-down")
    assert broker.folded == ("lag readings",)


def test_of_two_that_decide_from_the_same_state_one_wins_and_one_tells(post: Post, inbox: Inbox) -> None:
    book = journal.read(post.storage, ("inbox",))
    post.look(BROKER)
    row = replace(open_alerts(post.storage)[0], at=START + TICK)
    with pytest.raises(StaleCursorError, match="nobody was told"):
        journal.write(post.storage, book, [row], {})
    assert len(history(post.storage, START)) == 1
    assert inbox.told() == [("broker-down", "new")]


def test_two_at_once_also_between_reading_and_committing(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rival commits in the moment before this one's own commit: the log itself refuses the second."""
    rival = replace(post, memory=Memory(), sinks={"inbox": Inbox()}, path=post.path.with_name("rival.json"))
    commit = Table.commit

    def late(self: Table, *args: object, **options: object) -> int:
        monkeypatch.setattr(Table, "commit", commit)
        rival.look(BROKER)
        return commit(self, *args, **options)  # pyright: ignore[reportArgumentType] as it was called

    monkeypatch.setattr(Table, "commit", late)
    report = post.look(BROKER)
    assert report.transitions == ()
    assert "another writer committed" in report.notes[0]
    first, second = post.sinks["inbox"], rival.sinks["inbox"]
    assert isinstance(first, Inbox)
    assert isinstance(second, Inbox)
    assert (first.told(), second.told()) == ([], [("broker-down", "new")])
    for _ in range(5):
        post.look(BROKER)
    assert first.told() == []
    assert len(history(post.storage, START)) == 1


def test_what_a_dead_process_has_committed_is_told_by_the_next_one(post: Post, inbox: Inbox) -> None:
    book = journal.read(post.storage, ("inbox",))
    dead = replace(condition_row(BROKER), at=START, told_at=START)  # committed, and killed before anybody was told
    journal.write(post.storage, book, [dead], {})
    post.now = START + LEASE - TICK
    post.look(BROKER)
    assert inbox.told() == []  # somebody may be about to
    post.look(BROKER)
    post.look(BROKER)
    assert [message.key for message in inbox.got] == [dead.key]


def condition_row(found: Condition) -> Alert:
    return Alert(
        alert=found.alert,
        scope=found.scope,
        state="new",
        severity=found.severity,
        at=START,
        since=found.since or START,
        told_at=START,
        summary=found.summary,
        command=found.command,
        correlation_id="c",
    )


def test_killed_between_telling_and_writing_it_down_the_key_is_the_same(
    post: Post, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = journal.write, list[int]()

    def killed(*args: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(*args)  # pyright: ignore[reportArgumentType] as it was called

    monkeypatch.setattr(journal, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        post.look(BROKER)
    monkeypatch.undo()
    post.now += LEASE
    post.look(BROKER)
    assert inbox.told() == [("broker-down", "new")] * 2
    assert len({message.key for message in inbox.got}) == 1


def test_a_sink_that_fails_is_tried_again_later_and_blocks_no_other(
    post: Post, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Inbox(refuses=True)
    post.sinks = {"inbox": inbox, "other": other}
    report = post.look(BROKER)
    assert inbox.told() == [("broker-down", "new")]
    assert report.notes == ("sink other has failed 1 times in a row, next try at 03:00:10 UTC: it is full",)
    tried = list[dt.datetime]()
    refuse = other.send

    def send(message: Message) -> None:
        tried.append(post.now)
        refuse(message)

    monkeypatch.setattr(other, "send", send)
    for _ in range(120):
        post.look(BROKER)
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(tried)]
    assert waits == [20, 40, 80, 160, 300, 300]
    monkeypatch.undo()
    other.refuses = False
    post.now += dt.timedelta(minutes=5)
    assert post.look(BROKER).notes == ()
    assert other.told() == inbox.told() == [("broker-down", "new")]


def test_a_sink_gets_all_that_it_missed_in_order(post: Post) -> None:
    other = Inbox(refuses=True)
    post.sinks = {"other": other}
    post.look(BROKER)
    post.now += dt.timedelta(days=3)  # its row is not among the newest ones by then
    resolve(post)
    other.refuses = False
    post.now += dt.timedelta(minutes=5)
    post.look()
    assert other.told() == [("broker-down", "new"), ("broker-down", "resolved")]


def test_a_new_sink_begins_with_what_comes_next(post: Post, inbox: Inbox) -> None:
    post.look(BROKER)
    new = Inbox()
    post.sinks = {"inbox": inbox, "new": new}
    post.look(BROKER)
    assert new.told() == []
    resolve(post)
    assert new.told() == [("broker-down", "resolved")]


def test_routes(post: Post, catalog: Catalog) -> None:
    dataset = catalog.datasets[0]
    post.sinks = {name: Inbox() for name in ("all", "critical", "domain", "owner", "nobody")}
    post.routes = (
        Route(sinks=("all",)),
        Route(sinks=("critical",), severity="critical"),
        Route(sinks=("domain",), domain=dataset.domain or "none"),
        Route(sinks=("owner",), owner=dataset.owners[0]),
        Route(sinks=("nobody",), owner="somebody else"),
    )
    post.look(replace(LAG, alert="schema-drift"), BROKER)
    told = {name: sink.told() for name, sink in post.sinks.items() if isinstance(sink, Inbox)}
    assert [id_ for id_, _ in told["all"]] == ["broker-down", "schema-drift readings"]
    assert [id_ for id_, _ in told["critical"]] == ["broker-down"]
    assert [id_ for id_, _ in told["owner"]] == ["schema-drift readings"]
    assert told["nobody"] == []


def test_while_the_store_is_down_alerts_are_kept_here_and_told(post: Post, inbox: Inbox) -> None:
    post.look(BROKER)
    post.store_up = False
    down = replace(condition("store-down"), since=START)
    for _ in range(3):
        post.look(down, after=dt.timedelta(seconds=25))
    report = post.look(down)
    assert any("alerts.json" in note for note in report.notes)
    assert ids(report.open) == ["store-down"]  # and the broker's is over, which is told, too
    assert inbox.told() == [("broker-down", "new"), ("store-down", "new"), ("broker-down", "resolved")]
    assert len(history(post.storage, START)) == 1
    post.memory = Memory()  # a process that begins anew knows it all from the file
    post.look(down)
    assert len(inbox.got) == 3
    post.store_up = True
    resolve(post)
    assert inbox.told()[3:] == [("store-down", "resolved")]
    rows = history(post.storage, START)
    assert [(row.sequence, str(row.id), row.state) for row in rows] == [
        (1, "broker-down", "new"),
        (2, "store-down", "new"),
        (3, "broker-down", "resolved"),
        (4, "store-down", "resolved"),
    ]
    assert open_alerts(post.storage) == ()


def test_a_store_that_fails_under_way_is_stood_in_for(
    post: Post, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.look(BROKER)

    def refuses(self: Storage, path: str, content: bytes) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Storage, "create", refuses)
    resolve(post)
    assert inbox.told() == [("broker-down", "new"), ("broker-down", "resolved")]
    monkeypatch.undo()
    post.look()
    assert [row.state for row in history(post.storage, START)] == ["new", "resolved"]
    assert len(inbox.got) == 2


def test_a_file_that_is_cut_short_is_no_obstacle(post: Post, inbox: Inbox) -> None:
    post.look(BROKER)
    post.path.write_text(post.path.read_text()[:100])
    post.look(BROKER)
    assert inbox.told() == [("broker-down", "new")]


def test_days_of_rows_are_not_read_to_know_what_is_open(post: Post) -> None:
    for _ in range(3):
        post.look(BROKER)
        resolve(post)
        post.now += dt.timedelta(days=1)
    post.look(LAG)
    table = Table.open(specs.alerts(), storage=post.storage)
    assert table.files()["event_date"].n_unique() > 2
    book = journal.read(post.storage, ("inbox",))
    assert ids(book.alerts) == ["lag readings"]
    assert book.sinks == {"inbox": Progress(told=7)}
    assert table.rows().select(pl.len()).collect().item() == 7


def test_after_an_absence_burn_rates_raise_nothing_for_what_nobody_measured(post: Post, inbox: Inbox) -> None:
    burn, poison = condition("slo-burn", "readings/lag_seconds"), condition("poison-rate", "readings")
    old = replace(condition("slo-burn", "readings/eu/freshness"), since=START - dt.timedelta(hours=1))
    post.look(old)
    post.now += AWAY + TICK
    for _ in range(30):
        post.look(burn, poison)
    report = post.look(burn, poison)
    assert "none is raised until" in report.notes[0]
    assert inbox.told() == [("slo-burn readings/eu/freshness", "new"), ("poison-rate readings", "new")]
    for _ in range(round(KINDS["slo-burn"].aftermath / TICK)):
        post.look(burn, poison)
    assert post.look(burn, poison).notes == ()
    assert inbox.told()[2:] == [
        ("slo-burn readings/eu/freshness", "resolved"),
        ("slo-burn readings/lag_seconds", "new"),
    ]
