"""The ledger balances at every version and is what pandas makes of the payments, whatever the order and batching."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.assets import catch_up
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Mart
from dagster_project.definitions import build
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.lifecycle.erase import erase
from dagster_project.lifecycle.find import find
from dagster_project.lifecycle.subject import Subject
from dagster_project.refine.audit import RefusedError
from dagster_project.refine.gold import compute
from dagster_project.refine.staleness import pending_gold
from dagster_project.settings import REPOSITORY, Settings
from tests.ledger.books import COORDINATES, Books, balances, differences, expected
from tests.unit.lakes import EPOCH, MART, Lake, Message, write_project

# A mart of the same payments that is not CP.
TAKINGS = (
    MART.replace("levels", "takings").replace("[readings]", "[payments]").replace("name: readings", "name: events")
)
TAKINGS_SQL = (
    "SELECT event_date, region, count(*) AS events, sum(amount)::BIGINT AS total FROM silver.payments GROUP BY ALL"
)
RULES = {"trial_balance", "complete", "no_gap", "one_sided", "reversing"}
Event = dict[str, Any]


@pytest.fixture(scope="module")
def books_catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("books")
    write_project(folder, {"takings.odcs.yaml": TAKINGS, "takings.sql": TAKINGS_SQL})
    shutil.copy(REPOSITORY / "contracts" / "payments.odcs.yaml", folder)
    for name in ("ledger", "account_balances", "dim_date", "dim_region"):
        for kind in ("odcs.yaml", "sql"):
            shutil.copy(REPOSITORY / "contracts" / "marts" / f"{name}.{kind}", folder)
    return load_catalog(folder)


@pytest.fixture
def books(tmp_path: Path, books_catalog: Catalog) -> Lake:
    return Lake.at(tmp_path / "lake", catalog=books_catalog)


def event(
    number: int, sequence: int = 1, kind: str = "capture", *, cents: int = 1234, day: int = 1, region: str = "eu"
) -> Event:
    """One event of a payment, an hour after the one before."""
    began = EPOCH + dt.timedelta(days=day - 1, minutes=number)
    return {
        "payment_id": str(uuid.UUID(int=number, version=4)),
        "sequence": sequence,
        "order_id": str(uuid.UUID(int=number + 1000, version=4)),
        "customer_id": f"c-{number}",
        "region": region,
        "currency": {"eu": "EUR", "us": "USD", "apac": "JPY"}[region],
        "kind": kind,
        "amount": cents,
        "payment_at": began,
        "event_time": began + dt.timedelta(hours=sequence - 1),
    }


def sent(events: Iterable[Event]) -> list[Message]:
    """Events in the order of sending, each payment in one of two Kafka partitions."""
    following = {0: itertools.count(), 1: itertools.count()}
    messages: list[Message] = []
    for found in events:
        partition = uuid.UUID(found["payment_id"]).int % 2
        values = {**found, "payment_at": found["payment_at"].isoformat(), "event_time": found["event_time"].isoformat()}
        amount = f"{found['amount'] // 100}.{found['amount'] % 100:02d}"
        payload = json.dumps(values | {"amount": "?"}).replace('"?"', amount).encode()
        offset = next(following[partition])
        messages.append(Message(offset=offset, payload=payload, key=found["payment_id"].encode(), partition=partition))
    return messages


def delivered(events: Sequence[Event]) -> pd.DataFrame:
    """What the oracle knows of it."""
    frame = pd.DataFrame(list(events))
    places = [(message.partition, message.offset) for message in sent(events)]
    frame["kafka_partition"] = [partition for partition, _ in places]
    frame["kafka_offset"] = [offset for _, offset in places]
    return frame.assign(correlation_id=[f"{partition}/{offset}" for partition, offset in places])


def mart(lake: Lake, name: str) -> Mart:
    return next(mart for mart in lake.catalog.marts if mart.name == name)


def publish(lake: Lake, name: str = "ledger", *, afresh: bool = False) -> None:
    list(compute(mart(lake, name), catalog=lake.catalog, storage=lake.storage, keys=None, afresh=afresh))


def refusal(lake: Lake) -> list[str]:
    """Why the ledger was not published, if it was not: what comes next may mend it."""
    try:
        publish(lake)
    except RefusedError as refused:
        return [refused.found]
    return []


def table(lake: Lake, name: str = "ledger") -> Table:
    return Table.open(specs.gold(mart(lake, name)), storage=lake.storage)


def of(lake: Lake) -> Books:
    return Books(folder=Path(table(lake).uri))


def arrive(lake: Lake, *events: Event) -> None:
    lake.arrive(*sent(events))
    lake.refine()


def tampered(lake: Lake, replacement: str, where: str = "true") -> Lake:
    """With other values in the ledger's columns, or without some rows."""
    ledger = mart(lake, "ledger")
    sql = f"SELECT * {replacement and f'REPLACE ({replacement})'} FROM ({ledger.sql}) WHERE {where}"
    others = tuple(other for other in lake.catalog.marts if other is not ledger)
    return replace(lake, catalog=replace(lake.catalog, marts=(replace(ledger, sql=sql), *others)))


def broken(refused: pytest.ExceptionInfo[RefusedError]) -> set[str]:
    return {finding.rule for found in refused.value.verdict.broken.values() for finding in found}


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Event], list[int]]:
    """Payments, each with its refunds and chargebacks, some delivered twice, in any order; and where batches end."""
    events: list[Event] = []
    for number in range(1, draw(st.integers(2, 6))):
        region, day = draw(st.sampled_from(["eu", "us"])), draw(st.integers(1, 2))
        kinds = ["capture", *draw(st.lists(st.sampled_from(["refund", "chargeback", "capture"]), max_size=2))]
        events += (
            event(number, sequence, kind, cents=draw(st.integers(1, 10**9)), day=day, region=region)
            for sequence, kind in enumerate(kinds, 1)
        )
    twice = draw(st.lists(st.sampled_from(events), max_size=2, unique_by=id))
    order = draw(st.permutations([*events, *twice]))
    return order, sorted(draw(st.sets(st.integers(1, len(order)), max_size=3)) | {0, len(order)})


def test_any_order_and_batching_gives_the_same_ledger_and_each_version_balances(books_catalog: Catalog) -> None:
    @settings(max_examples=6)
    @given(streams())
    def check(stream: tuple[list[Event], list[int]]) -> None:
        events, cuts = stream
        messages = sent(events)
        with tempfile.TemporaryDirectory() as folder:
            lake, refused = Lake.at(Path(folder), catalog=books_catalog), list[str]()
            for start, end in itertools.pairwise(cuts):
                lake.arrive(*messages[start:end])
                lake.refine()
                refused += refusal(lake)
            assert all("no_gap" in why or "reversing" in why for why in refused)
            assert [version.problems for version in of(lake).versions() if version.problems] == []
            found = of(lake).postings()
            assert differences(found, expected(delivered(events))) == []
            in_order = sorted(events, key=lambda one: (one["payment_id"], one["sequence"]))
            assert differences(found, expected(delivered(in_order)), but=tuple(COORDINATES)) == []
            tables = {"silver/payments": lake.silver, "gold/ledger": table(lake)}
            assert pending_gold(mart(lake, "ledger"), tables, catalog=lake.catalog) == []

    check()


def test_a_late_event_and_one_that_comes_twice_add_only_their_own(books: Lake) -> None:
    arrive(books, event(1), event(2, cents=500))
    publish(books)
    before = of(books).postings()
    # The first again, with another offset, and a refund of long ago.
    books.arrive(*(replace(message, offset=message.offset + 10) for message in sent([event(1), event(2, 2, "refund")])))
    books.refine()
    publish(books)
    after = of(books).postings()
    added = after[~after["posting_id"].isin(before["posting_id"])]
    assert list(added["account"]) == ["revenue:eu", "cash:EUR"]
    assert list(set(added["reverses"])) == [f"{event(2)['payment_id']}|1"]
    assert differences(after.drop(added.index).reset_index(drop=True), before) == []


def test_a_missing_sequence_holds_the_whole_batch_until_it_comes(books: Lake) -> None:
    late = event(1, 2, "refund", cents=100)
    messages = sent([event(1), late, event(1, 3, "chargeback", cents=1), event(2, region="us", day=2)])
    books.arrive(messages[0], *messages[2:])
    books.refine()
    version = table(books).version
    with pytest.raises(RefusedError, match="1 table partitions break a rule: 2026-01-01/eu") as refused:
        publish(books)
    assert broken(refused) == {"no_gap"}
    assert "no_gap: 1, must be exactly 0" in refused.value.found
    assert "nothing of it was published" in refused.value.expected
    assert "the next run tries again" in refused.value.remedy
    assert (table(books).version, len(table(books).files())) == (version, 0)
    publish(books, "takings")
    assert table(books, "takings").rows().collect()["events"].sum() == 3
    books.arrive(messages[1])
    books.refine()
    publish(books)
    assert [version.postings for version in of(books).versions()] == [0, 8]
    assert [version.problems for version in of(books).versions() if version.problems] == []


TAMPERED = {
    "a credit is dropped": ("", "kind = 'capture' OR line = 1", {"trial_balance", "complete"}),
    "money of nothing": ("debit + 1 AS debit", "true", {"trial_balance", "complete", "one_sided"}),
    "a refund is dropped": ("", "kind = 'capture'", {"complete"}),
    "a capture is dropped": ("", "sequence > 1", {"complete", "no_gap", "reversing"}),
    "all amounts are doubled": ("debit * 2 AS debit, credit * 2 AS credit", "true", {"complete"}),
    "another currency": ("'JPY' AS currency", "true", {"complete"}),
    "signs instead of sides": ("-credit AS debit, -debit AS credit", "true", {"complete", "one_sided"}),
    "a refund of itself": ("if(kind = 'capture', NULL, transaction_id) AS reverses", "true", {"reversing"}),
    "a line is left out": ("line * 2 AS line", "true", {"no_gap"}),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_each_rule_refuses_what_it_is_for_and_other_marts_go_on(books: Lake, case: str) -> None:
    replacement, where, rules = TAMPERED[case]
    arrive(books, event(1), event(1, 2, "refund", cents=34), event(2, region="us"), event(3, day=2))
    with pytest.raises(RefusedError) as refused:
        publish(tampered(books, replacement, where))
    assert broken(refused) == rules
    assert (table(books).version, len(table(books).files())) == (0, 0)
    publish(books, "takings")
    assert table(books, "takings").rows().collect()["events"].sum() == 4
    publish(books)
    assert len(of(books).postings()) == 8


@pytest.mark.parametrize("case", ["a credit is dropped", "a capture is dropped", "another currency"])
def test_without_rules_the_oracle_sees_what_they_would_have_held_back(books: Lake, case: str) -> None:
    replacement, where, _ = TAMPERED[case]
    events = [event(1), event(1, 2, "refund", cents=34)]
    arrive(books, *events)
    lake = tampered(books, replacement, where)
    careless = replace(mart(lake, "ledger"), rules=())
    publish(replace(lake, catalog=replace(lake.catalog, marts=(careless,))))
    assert differences(of(books).postings(), expected(delivered(events))) != []
    *_, last = of(books).versions()
    # What is whole in itself shows only beside the payments.
    assert bool(last.problems) == (case != "another currency")


def test_what_was_posted_is_never_changed_or_taken_out(books: Lake) -> None:
    arrive(books, event(1), event(2, region="us"))
    publish(books)
    before, version = of(books).postings(), table(books).version
    for changed in (tampered(books, "upper(account) AS account"), tampered(books, "posting_id || 'x' AS posting_id")):
        with pytest.raises(RefusedError) as refused:
            publish(changed, afresh=True)
        assert broken(refused) == {"append_only"}
        assert {str(key) for key in refused.value.verdict.broken} == {"2026-01-01/eu", "2026-01-01/us"}
    assert table(books).version == version
    publish(books, afresh=True)
    assert differences(of(books).postings(), before) == []


def test_balances_are_the_sums_of_what_was_posted_and_wait_with_the_ledger(books: Lake) -> None:
    events = [
        event(1),
        event(1, 2, "refund", cents=34),
        event(2, region="us"),
        event(3, cents=6),
        event(3, 2, "chargeback"),
    ]
    arrive(books, *events)
    publish(books)
    publish(books, "account_balances")
    rows = table(books, "account_balances").rows().collect()
    found = {
        (row["region"], row["account"], row["currency"]): tuple(
            int(row[name] * 100) for name in ("debit", "credit", "balance")
        )
        for row in rows.to_dicts()
    }
    assert found == balances(expected(delivered(events)))
    books.arrive(*sent([event(4), event(4, 3, "refund")]))
    books.refine()
    with pytest.raises(RefusedError):
        publish(books)
    version = table(books, "account_balances").version
    publish(books, "account_balances")
    assert table(books, "account_balances").version == version


def test_who_is_forgotten_goes_from_the_ledger_too_and_it_balances_without_them(books: Lake) -> None:
    arrive(books, event(1), event(1, 2, "refund", cents=34), event(2))
    publish(books)
    subject = Subject.of(books.dataset, {"customer_id": "c-1"})
    found = find(books.dataset, subject, storage=books.storage)
    erase(books.dataset, subject, found, by="me", catalog=books.catalog, storage=books.storage, report=lambda _: None)
    left = of(books).postings()
    assert left["payment_id"].unique().tolist() == [event(2)["payment_id"]]
    assert [version.problems for version in of(books).versions(table(books).version) if version.problems] == []


@pytest.fixture
def repository(books: Lake, tmp_path: Path) -> dg.RepositoryDefinition:
    own = Settings(home=tmp_path, project=tmp_path, lake_uri=books.storage.uri, bootstrap_servers="")
    return build(books.catalog, own).get_repository_def()


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setattr(catch_up, "IDLE_SECONDS", 0.0)
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def verdicts(instance: dg.DagsterInstance, rules: Iterable[str]) -> dict[str, bool | None]:
    """What the UI shows of the ledger's checks."""
    keys = {rule: dg.AssetCheckKey(dg.AssetKey(["gold", "ledger"]), rule) for rule in rules}
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys.values()))
    return {
        rule: None if key not in found else evaluation.passed if (evaluation := found[key].evaluation) else None
        for rule, key in keys.items()
    }


@pytest.mark.parametrize("job", ["catch_up_payments", "refine_payments"])
def test_a_run_shows_which_check_failed_finishes_the_other_marts_and_fails(
    books: Lake, repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, job: str
) -> None:
    options: dict[str, Any] = {"partition_key": "2026-01-01|eu"} if job == "refine_payments" else {}
    first, late, last = sent([event(1), event(1, 2, "refund", cents=100), event(1, 3, "refund", cents=1)])
    books.arrive(first, last)
    run = repository.get_job(job).execute_in_process(instance=instance, raise_on_error=False, **options)
    assert not run.success
    every = {*RULES, "append_only"}
    assert verdicts(instance, every) == {**dict.fromkeys(every, True), "no_gap": False}
    assert table(books, "takings").rows().collect()["events"].to_list() == [2]
    assert len(table(books).files()) == 0
    assert instance.get_latest_materialization_event(dg.AssetKey(["gold", "ledger"])) is None
    books.arrive(late)
    assert repository.get_job(job).execute_in_process(instance=instance, **options).success
    assert verdicts(instance, every) == dict.fromkeys(every, True)
    assert len(of(books).postings()) == 6
