"""The verdict on a live run: its arithmetic, its alerts, and where every event is."""

# pyright: reportArgumentType=false, reportCallIssue=false, reportReturnType=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import datetime as dt
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
from deltalake import DeltaTable

from tests.integration.lake import Lake
from tests.live.arithmetic import differences
from tests.live.course import Struck
from tests.live.faults import POISONED, Burst
from tests.live.ground import Ground
from tests.live.place import Place
from tests.retail import judge as marts
from tests.retail.shop import Shop


@dataclass(frozen=True, kw_only=True)
class Levels:
    """What `lakehouse slo` says, and where that is not what the records say."""

    said: list[dict[str, Any]]
    problems: list[str]


def frame(ground: Place, table: str) -> pd.DataFrame:
    """A Delta table as delta-rs reads it."""
    options = dict(ground.storage.options) or None
    return pl.from_arrow(
        DeltaTable(f"{ground.storage.uri}/{table}", storage_options=options).to_pyarrow_table()
    ).to_pandas()


def levels(ground: Place) -> Levels:
    since = pd.Timestamp.now(tz="UTC")
    ran = ground.lakehouse("slo", "--json")
    until = pd.Timestamp.now(tz="UTC")
    said = json.loads(ran.stdout)
    rows = frame(ground, "ops/measurements")
    return Levels(said=said, problems=list(differences(said, rows, since=since, until=until)))


def alerts(ground: Ground, struck: Sequence[Struck], *, since: dt.datetime) -> Iterator[str]:
    """Where the alerts are not one for each fault, once, and over in the end; by the table, and by who was told."""
    rows = frame(ground, "ops/alerts")
    rows = rows[rows["at"] >= since].sort_values("sequence")
    begun = rows[rows["state"] == "new"]
    wanted = Counter(one.fault.alert for one in struck)
    if Counter(begun["alert"]) != wanted:
        scopes = [f"{row.alert} {row.scope}".strip() for row in begun.itertuples()]
        yield f"alerts: {', '.join(scopes) or 'none'}; expected one each of {', '.join(sorted(wanted))}"
    newest = rows.groupby(["alert", "scope"]).tail(1)
    for row in newest[newest["state"] != "resolved"].itertuples():
        yield f"alert {row.alert} {row.scope} is still {row.state}"
    for one in struck:
        own = begun[begun["alert"] == one.fault.alert]
        if len(own) and not own["scope"].iloc[0].startswith(one.fault.scope):
            yield f"{one.fault.name}: {one.fault.alert} is about {own['scope'].iloc[0]}"
    told = Counter((alert["alert"], alert["state"]) for at, alert in ground.hook.told if at >= since.timestamp())
    for name in wanted:
        for state in ("new", "resolved"):
            if told[name, state] != 1:
                yield f"the webhook was told {told[name, state]} times that {name} is {state}"


def conclude(found: Mapping[str, Any], *, out: Path | None) -> int:
    """Write a result to a file, and what a person reads of it to standard output; returns the exit code."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1, default=str) + "\n")
    short = {name: value for name, value in found.items() if name not in {"objectives", "accounts", "lag_records"}}
    sys.stdout.write(json.dumps(short, indent=2, default=str) + "\n")
    return 1 if found["problems"] else 0


def accounted(ground: Place) -> tuple[list[dict[str, Any]], list[str]]:
    """What `lakehouse verify` says."""
    ran = ground.lakehouse("verify", "--json")
    if not ran.stdout:
        return [], [f"verify: {ran.stderr}"]
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    for item in found:
        del item["partitions"]  # their sums are in the account
    return found, [f"verify {item['dataset']}: {problem}" for item in found for problem in item["problems"]] + (
        [f"verify ended with {ran.returncode}"] if ran.returncode else []
    )


def retail(ground: Place) -> Shop:
    """The tables of this run, and the producer's own record."""
    lakes = {
        dataset.name: Lake(
            catalog=ground.catalog, dataset=dataset, servers=ground.servers, storage=ground.storage, home=ground.home
        )
        for dataset in ground.catalog.datasets
    }
    return Shop(catalog=ground.catalog, lakes=lakes, storage=ground.storage)


def compared(ground: Place) -> tuple[dict[str, int], list[str]]:
    """Rows of each mart, and where they or those of Silver are not those of the oracle."""
    shop = retail(ground)
    sent = shop.sent()
    problems = [*marts.silver_problems(shop, sent), *marts.problems(shop, sent)]
    return {name: len(rows) for name, rows in shop.marts().items()}, problems


def poison(ground: Ground, burst: Burst) -> Iterator[str]:
    """Whether each broken message is a row of Bronze."""
    bronze = frame(ground, f"bronze/{POISONED}")
    shop = retail(ground)
    own = int((shop.deliveries()[POISONED]["fate"] == "decode").sum())
    found = int((bronze["_kind"] == "poison").sum())
    if found != burst.sent + own:
        yield f"bronze/{POISONED}: {found} poison messages, and not {burst.sent + own}"
