"""Breaks the platform's processes from outside: Python runs this first in each process that has the folder on its path.

CHAOS_PLAN names a file: the point at which the process that gets there first is to be killed, stopped or refused.
CHAOS_CLOCK is how many seconds the process's clock is wrong. CHAOS_DISABLE takes one safeguard out of the platform, so
that it can be seen whether the suite would notice.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from types import SimpleNamespace
from typing import Any

_PLAN = os.environ.get("CHAOS_PLAN", "")
_DISABLED = os.environ.get("CHAOS_DISABLE", "")
_CLOCK = float(os.environ.get("CHAOS_CLOCK", "0"))


def at(point: str) -> None:
    """Do what is planned for this point, if something is and no other process has done it."""
    try:
        with open(_PLAN, encoding="utf-8") as file:  # noqa: PTH123 pathlib would slow each start of a process
            plan = json.load(file)
        if plan["point"] != point:
            return
        os.rename(_PLAN, f"{_PLAN}.{os.getpid()}")  # noqa: PTH104 as above
    except OSError:  # no plan, or another process was first
        return
    match plan["action"]:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill_later":
            timer = threading.Timer(plan["seconds"], os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case action:
            raise ValueError(action)


def _around(function: Callable[..., Any], before: Callable[..., str], after: Callable[..., str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        at(before(*args, **kwargs))
        result = function(*args, **kwargs)
        at(after(*args, **kwargs))
        return result

    return watched


def _layer(uri: str) -> str:
    return uri.rstrip("/").split("/")[-2]


def _files(module: Any) -> None:
    def point(moment: str) -> Callable[..., str]:
        return lambda *_, uri, **__: f"{_layer(uri)}.{moment}"

    module.write_files = _around(module.write_files, point("before_files"), point("before_commit"))


def _table(module: Any) -> None:
    commit = module.Table.commit
    if _DISABLED == "fencing":
        original = commit

        def commit(table: Any, *args: Any, **kwargs: Any) -> Any:
            table.refresh()
            return original(table, *args, **kwargs)

    module.Table.commit = _around(
        commit, lambda *_, **__: "", lambda table, *_, **__: f"{table.spec.layer}.after_commit"
    )


def _fetch(module: Any) -> None:
    module.Fetcher.fetch = _around(
        module.Fetcher.fetch, lambda *_, **__: "ingest.fetching", lambda *_, **__: "ingest.fetched"
    )


def _bronze(module: Any) -> None:
    if _DISABLED in {"cursor", "fencing"}:
        module._still_ours = lambda *_, **__: None
    if _DISABLED == "cursor":
        resume = module.resume

        def afresh(cursor: Any, topic: Any, **options: Any) -> Any:
            start = resume(None, topic, **options)
            return start if cursor is None else module.replace(start, batch_id=cursor.batch_id)

        module.resume = afresh


def _gold(module: Any) -> None:
    module.run_sql = _around(module.run_sql, lambda *_, **__: "gold.computing", lambda *_, **__: "gold.computed")


def _silver(module: Any) -> None:
    module.audited = _around(module.audited, lambda *_, **__: "silver.merging", lambda *_, **__: "silver.merged")


def _compaction(module: Any) -> None:
    module.read_portion = _around(module.read_portion, lambda *_: "", lambda *_: "compaction.read")
    module.publish_portion = _around(module.publish_portion, lambda *_: "", lambda *_: "compaction.published")


def _outbox(module: Any) -> None:
    module.send_letters = _around(module.send_letters, lambda *_: "outbox.sending", lambda *_: "outbox.sent")
    module.commit_letters = _around(module.commit_letters, lambda *_: "", lambda *_: "outbox.committed")
    if _DISABLED == "outbox":
        put = module.put

        def torn(producer: Any, parcel: Any) -> None:
            module.put = lambda sender, topic, **record: (
                None if topic == module.OUTBOX else put(sender, topic, **record)
            )
            module.send_letters(producer, parcel)
            module.commit_letters(producer)
            producer.begin_transaction()
            put(producer, module.OUTBOX, key=parcel.key, value=module.cursors.record(parcel.cursor))
            producer.flush()
            producer.commit_transaction()

        module._transaction = torn


_PATCHES: dict[str, Callable[[Any], None]] = {
    "dagster_project.lake.files": _files,
    "dagster_project.lake.table": _table,
    "dagster_project.ingest.fetch": _fetch,
    "dagster_project.ingest.bronze": _bronze,
    "dagster_project.lake.compaction": _compaction,
    "dagster_project.outbox.publish": _outbox,
    "dagster_project.refine.gold": _gold,
    "dagster_project.refine.silver": _silver,
}


class _Instances(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, dt.datetime)


class _WrongClock(dt.datetime, metaclass=_Instances):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
        return dt.datetime.now(tz) + dt.timedelta(seconds=_CLOCK)


def _shift(module: Any) -> None:
    if getattr(module, "dt", None) is dt:
        module.dt = SimpleNamespace(**{**vars(dt), "datetime": _WrongClock})


class _Saboteur(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if not name.startswith("dagster_project."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            _PATCHES.get(name, lambda _: None)(module)
            if _CLOCK:
                _shift(module)

        spec.loader.exec_module = exec_module
        return spec


if _CLOCK:
    _right = time.time
    time.time = lambda: _right() + _CLOCK
with suppress(ImportError):  # those of an application that is not ours
    sys.meta_path.insert(0, _Saboteur())
at("start")
