"""Does it cost ingest anything that people watch? The same minute without and with 200 viewers, in one run.

    make bench-viewers

Orders are sent at a steady rate; one process brings them to Gold, another one serves the page. First nobody watches, then
everybody, then nobody again: what is different in the middle is the viewers'. A viewer is a connection that takes every event
that the page sends. A browser then opens the page, and says how many bytes came and when the figures were there.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl
import psutil

from dagster_project.accounting.latency import delays
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake.storage import Storage
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine
from dagster_project.services import kafka
from dagster_project.services.ports import LOOPBACK, free_port
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.topics import admin, derived

RESULT = REPOSITORY / "benchmarks" / "results" / "viewers.json"
MART = "revenue_1m"
PATIENCE_S = 60.0
# Before the first phase: imports, compilers and the first, large batch are nobody's.
WARM_S = 15.0
# Viewers, from when to when, and what share of a core the page took.
Span = tuple[int, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Round:
    """From Kafka to Gold, once: when it ended, how many events, and what that took."""

    at: float
    events: int
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What became of the events that were sent in one span, and what share of a core the page took meanwhile.

    Attributes:
        latency_p50_s, latency_p95_s, latency_p99_s: from Kafka to Gold.
    """

    viewers: int
    events_s: float
    cpu_us_per_event: float
    latency_p50_s: float
    latency_p95_s: float
    latency_p99_s: float
    page_cpu_share: float


@dataclass(kw_only=True)
class Heard:
    """What viewers have heard."""

    looks: int = 0
    bytes: int = 0
    lost: int = 0
    longest_silence_s: float = 0.0


def orders(catalog: Catalog) -> tuple[Dataset, Catalog]:
    dataset = catalog.dataset("orders")
    marts = tuple(mart for mart in catalog.marts if catalog.origins(mart) <= {"orders"})
    return dataset, replace(catalog, datasets=(dataset,), marts=marts)


def pump(settings: Settings, until: float) -> None:
    """Bring orders to Gold until a time; a line for each round."""
    dataset, catalog = orders(load_catalog(settings.contracts))
    storage = Storage.at(settings.lake_uri)
    while time.time() < until:
        before = resource.getrusage(resource.RUSAGE_SELF)
        batches = list(
            ingest(
                dataset,
                bootstrap_servers=settings.bootstrap_servers,
                storage=storage,
                limits=Limits(),
                seconds=5,
                warn=lambda _: None,
            )
        )
        for _ in refine(dataset, storage=storage, keys=None):
            pass
        for mart in catalog.marts:
            for _ in compute(mart, catalog=catalog, storage=storage, keys=None):
                pass
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        done = Round(at=time.time(), events=sum(batch.events for batch in batches), cpu_seconds=cpu)
        sys.stdout.write(json.dumps(asdict(done)) + "\n")
        sys.stdout.flush()


async def watch(url: str, *, viewers: int, seconds: float) -> Heard:
    """Viewers, all at once, for so long."""
    heard = Heard()
    host, _, port = url.removeprefix("http://").partition(":")
    end = time.monotonic() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /api/events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        last = time.monotonic()
        try:
            while time.monotonic() < end:
                async with asyncio.timeout(max(0.1, end - time.monotonic())):
                    line = await reader.readline()
                if not line:
                    heard.lost += 1
                    return
                heard.bytes += len(line)
                if line.startswith(b"event: "):
                    heard.looks += line.startswith(b"event: look")
                    heard.longest_silence_s = max(heard.longest_silence_s, time.monotonic() - last)
                    last = time.monotonic()
        except TimeoutError:
            pass
        except OSError:
            heard.lost += 1
        finally:
            writer.close()

    await asyncio.gather(*(one() for _ in range(viewers)))
    return heard


def first_look(url: str) -> dict[str, float]:
    """What a browser says of its first look: bytes over the wire, and milliseconds to first paint and to the figures."""
    from selenium import webdriver  # noqa: PLC0415 only where there is a browser
    from selenium.webdriver.chrome.options import Options  # noqa: PLC0415
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1440,900"):
        options.add_argument(argument)
    script = """
        const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
        const mine = all.filter((entry) => !entry.name.includes("/api/events"));
        return {
          bytes: mine.reduce((sum, entry) => sum + entry.transferSize, 0),
          requests: mine.length,
          first_paint_ms: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1,
          figures_ms: performance.getEntriesByName("figures")[0]?.startTime ?? -1,
        };
    """
    with webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"))) as browser:
        browser.get(url)
        deadline = time.monotonic() + PATIENCE_S
        while browser.execute_script(script)["figures_ms"] < 0 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(3)  # the charts' library, too
        return {name: round(value, 1) for name, value in browser.execute_script(script).items()}


def main() -> None:
    """Measure, print, and write the figures down."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--viewers", type=int, default=200)
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument("--rate", type=float, default=2_000.0)
    arguments.add_argument("--pump", type=float, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.pump:
        pump(Settings.from_environment(), chosen.pump)
        return
    with tempfile.TemporaryDirectory(prefix="lakehouse-viewers-") as folder:
        result = measure(Path(folder), viewers=chosen.viewers, seconds=chosen.seconds, rate=chosen.rate)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(RESULT.read_text(encoding="utf-8"))


def measure(home: Path, *, viewers: int, seconds: float, rate: float) -> dict[str, object]:
    """All three phases, and a browser's first look."""
    local = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
    servers = kafka.up(local, brokers=1).bootstrap_servers
    dataset, catalog = orders(load_catalog(local.contracts))
    for step in admin.plan_all(derived.wanted([dataset]), bootstrap_servers=servers):
        admin.apply(step, bootstrap_servers=servers)
    environment = {**os.environ, "LAKEHOUSE_HOME": str(home), "KAFKA_BOOTSTRAP_SERVERS": servers}
    until = time.time() + WARM_S + 3 * seconds + 5
    port = free_port()
    module = [sys.executable, "-m", "dagster_project.cli.main"]
    events = str(int(rate * (WARM_S + 3 * seconds + 30)))
    log = home / "rounds.ndjson"
    children: list[subprocess.Popen[bytes]] = []
    try:
        with log.open("wb") as rounds, (home / "others.log").open("wb") as others:
            commands = [
                ([*module, "produce", "orders", "--events", events, "--rate", str(rate)], others),
                ([*module, "dashboard", "--port", str(port)], others),
                ([sys.executable, "-m", "benchmarks.viewers", "--pump", str(until)], rounds),
            ]
            for command, output in commands:
                children.append(subprocess.Popen(command, env=environment, stdout=output, stderr=others))
            page = psutil.Process(children[1].pid)
            time.sleep(WARM_S)
            url = f"http://{LOOPBACK}:{port}"
            spans: list[Span] = []
            heard = Heard()
            for count in (0, viewers, 0):
                began, cpu = time.time(), sum(page.cpu_times()[:2])
                if count:
                    heard = asyncio.run(watch(url, viewers=count, seconds=seconds))
                else:
                    time.sleep(seconds)
                ended = time.time()
                spans.append((count, began, ended, (sum(page.cpu_times()[:2]) - cpu) / (ended - began)))
            look = first_look(url) if shutil.which("chromedriver") else {}
            children[2].wait(PATIENCE_S)
        waited = delays(dataset, catalog.mart(MART), storage=Storage.at(local.lake_uri))
        rounds_done = pl.read_ndjson(log).filter(pl.col("events") > 0)
        phases = [_phase(rounds_done, waited, span) for span in spans]
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(PATIENCE_S)
        kafka.down(local)
    return {
        "measured": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "rate": rate,
        "seconds": seconds,
        "phases": [asdict(phase) for phase in phases],
        "heard": asdict(heard),
        "first_look": look,
    }


def _phase(rounds: pl.DataFrame, waited: pl.DataFrame, span: Span) -> Phase:
    viewers, begin, end, share = span
    own = rounds.filter(pl.col("at").is_between(begin, end))
    events, cpu = int(own["events"].sum()), float(own["cpu_seconds"].sum())
    sent = pl.col("_kafka_timestamp").dt.timestamp("us") / 1e6
    latencies = waited.filter(sent.is_between(begin, end))["seconds"]
    p50, p95, p99 = (round(latencies.quantile(share, "linear") or 0.0, 2) for share in (0.5, 0.95, 0.99))
    return Phase(
        viewers=viewers,
        events_s=round(events / (end - begin), 1),
        cpu_us_per_event=round(1e6 * cpu / max(events, 1), 1),
        latency_p50_s=p50,
        latency_p95_s=p95,
        latency_p99_s=p99,
        page_cpu_share=round(share, 3),
    )


if __name__ == "__main__":
    main()
