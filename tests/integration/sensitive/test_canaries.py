"""What a contract calls confidential is in Bronze and quarantine, the restricted layers, and nowhere else that anybody looks.

Canaries go in by every way that there is: good, bad, poison, late, deleted and unknown fields, and a rule that fails on one.
Then every command and Dagster job is run, and all that these leave behind is searched.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from dagster_project.assets.partitions import partition_name
from dagster_project.cli.main import app
from dagster_project.contract.model import SqlRule
from dagster_project.definitions import build
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.settings import PSEUDONYM_KEYS, Settings
from tests.integration.lake import Lake, environment
from tests.integration.outbox.topic import Record, send
from tests.integration.sensitive.people import CANARY, KEYS, PIN, customer, lake_of, project, searched

NEEDLES = (CANARY.encode(), str(PIN)[:-2].encode(), b"1911-11-11")
# By the contract: as many of each as the messages below.
GOOD, BAD, POISON = 6, 2, 5
MESSAGES = [
    *(customer(number) for number in range(3)),
    customer(3, region="us", nickname=f"{CANARY} the Third"),
    customer(4, day=2),  # late
    customer(5, address={"street": "Main", "flat": CANARY}),
    customer(6, email=CANARY),
    customer(7, pin=-PIN),
    customer(8, spent=CANARY),
    customer(9, born=CANARY),
    customer(10, region=CANARY),
    customer(11, customer_id=None),
    Record(f"{CANARY}-12".encode(), f'{{"customer_id": "{CANARY}-12", '.encode(), [("who", CANARY.encode())]),
    Record(f"{CANARY}-0".encode(), None),
]
INGEST = ("ingest_customers", "catch_up_customers")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A lake that all messages went through, and everything that commands have printed."""

    lake: Lake
    dagster: Path
    printed: dict[str, tuple[str, str]]


def run_jobs(lake: Lake, instance: dg.DagsterInstance, settings: Settings, *names: str) -> bool:
    """Run jobs; tells whether all of them succeeded."""
    repository = build(lake.catalog, settings).get_repository_def()
    # The asset's own run is one that a person asks for, of one table partition.
    partition = {"refine_customers": partition_name(Key(dt.date(2026, 1, 5), "eu"))}
    done = [
        repository.get_job(name).execute_in_process(
            instance=instance, raise_on_error=False, partition_key=partition.get(name)
        )
        for name in names
    ]
    return all(run.success for run in done)


def printing(arguments: Sequence[str], variables: Mapping[str, str]) -> Result:
    """A command in this process, which has imported all that it needs."""
    return CliRunner().invoke(app, arguments, env=dict(variables))


@pytest.fixture(scope="module")
def scene(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = project(tmp_path_factory.mktemp("people"))
    dagster, printed = folder / "dagster", dict[str, tuple[str, str]]()
    dagster.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PSEUDONYM_KEYS, KEYS)
        lake = lake_of(folder, servers=broker, uri=str(folder / "lake"))
        settings = Settings(home=lake.home, project=folder, lake_uri=lake.storage.uri, bootstrap_servers=broker)
        send(lake.dataset.topic.name, broker, MESSAGES)
        with dg.DagsterInstance.local_temp(str(dagster)) as instance:
            assert run_jobs(lake, instance, settings, *INGEST, "publish_dlq_customers")
            send(lake.dataset.topic.name, broker, [customer(13)])
            broken = SqlRule(id="broken", predicate="email::INTEGER > 0")
            odd = replace(lake.dataset, rules=(broken,))
            failed = replace(lake, dataset=odd, catalog=replace(lake.catalog, datasets=(odd,)))
            assert not run_jobs(failed, instance, settings, *INGEST)
            assert run_jobs(lake, instance, settings, *INGEST, "refine_customers", "maintain_customers")
        variables = {**environment(home=lake.home, project=folder, servers=broker), PSEUDONYM_KEYS: KEYS}
        variables["LAKEHOUSE_URI"] = lake.storage.uri

        def run(*arguments: str) -> None:
            done = printing(arguments, variables)
            assert done.exit_code == 0, done.stderr
            printed[" ".join(arguments)] = done.stdout, done.stderr

        for arguments in (
            ["verify", "--payloads", "--deep", "--json"],
            ["quarantine", "list", "customers", "--json"],
            ["quarantine", "release", "customers", "--dry-run"],
            ["dlq", "list", "customers"],
            ["dlq", "list", "customers", "--json"],
            ["dlq", "replay", "customers", "--dry-run"],
            ["query", "FROM silver.customers"],
            ["query", "FROM gold.spending", "--json"],
            ["contract", "docs", "--out", str(folder / "pages")],
        ):
            run(*arguments)
        yield Scene(lake=lake, dagster=dagster, printed=printed)


def test_the_canaries_went_through(scene: Scene) -> None:
    lake = scene.lake
    found = json.loads(scene.printed["verify --payloads --deep --json"][0])[0]
    assert found["accounted"], found["problems"]
    assert (found["silver_rows"], found["tombstones"]) == (GOOD, 1)  # one was deleted, and one came later
    assert found["quarantined"] == BAD + POISON
    # Who looks for them finds them, where they may be.
    paths = {hit.path for hit in searched(Path(lake.storage.uri), *NEEDLES)}
    assert any("/bronze/" in path for path in paths)
    assert any("/quarantine/" in path for path in paths)


def test_no_table_has_them_from_silver_on_and_no_log_at_all(scene: Scene) -> None:
    hits = list(searched(Path(scene.lake.storage.uri), *NEEDLES))
    data = {hit for hit in hits if "_delta_log" not in hit.path}
    assert {hit for hit in data if "/bronze/" not in hit.path and "/quarantine/" not in hit.path} == set()
    assert [hit for hit in hits if "_delta_log" in hit.path] == []


def test_gold_tells_customers_apart_by_their_pseudonyms(scene: Scene) -> None:
    rows = scene.lake.gold("spending")
    assert len(rows) == GOOD
    assert rows["customer_id"].str.contains(r"^k1\.[0-9a-f]{32}$").all()


def test_dagster_has_none_of_them(scene: Scene) -> None:
    files = [path for path in scene.dagster.rglob("*") if path.is_file()]
    assert any(b"ConversionException" in path.read_bytes() for path in files)  # the run that failed on one
    assert list(searched(scene.dagster, *NEEDLES)) == []


def test_no_command_prints_them(scene: Scene) -> None:
    texts = {name: out + err for name, (out, err) in scene.printed.items()}
    assert {name: text for name, text in texts.items() if any(needle.decode() in text for needle in NEEDLES)} == {}
    pages = Path(scene.lake.home).parent / "pages"
    assert list(pages.iterdir())
    assert list(searched(pages, *NEEDLES)) == []


@pytest.mark.parametrize("of", ["quarantine", "dlq"])
def test_a_message_is_shown_to_who_asks_for_it_outright(scene: Scene, of: str) -> None:
    lake = scene.lake
    bronze = lake.bronze().select("_kafka_partition", "_kafka_offset", "_error", "_kind")
    in_quarantine = lake.quarantine()
    rows = in_quarantine if of == "quarantine" else bronze.filter(bronze["_kind"] == specs.POISON)
    partition, offset = rows.select("_kafka_partition", "_kafka_offset").row(0)
    variables = environment(home=lake.home, project=lake.home.parent, servers=lake.servers)
    variables["LAKEHOUSE_URI"] = lake.storage.uri
    for form in ([], ["--json"]):
        hidden = printing([of, "show", "customers", f"{partition}/{offset}", *form], variables)
        assert hidden.exit_code == 0, hidden.stderr
        assert CANARY not in hidden.stdout + hidden.stderr
        assert "--reveal shows it" in hidden.stdout
        shown = printing([of, "show", "customers", f"{partition}/{offset}", "--reveal", *form], variables)
        assert CANARY in shown.stdout


def test_the_secret_is_nowhere(scene: Scene) -> None:
    secret = KEYS.partition(":")[2].encode()
    assert list(searched(scene.dagster, secret)) == []
    assert list(searched(Path(scene.lake.storage.uri), secret)) == []
    assert not any(secret.decode() in text for texts in scene.printed.values() for text in texts)
