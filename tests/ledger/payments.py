"""A stream of payments, of which every fiftieth is refunded later; and the record of what was sent, for the oracle."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pandas as pd

from dagster_project.sources.events import Event, Headers, rfc3339
from dagster_project.sources.source import Source

# 2 % of the payments.
REFUNDED_EVERY = 50
# A refund comes after so many other payments.
LATER = 2_000
START, DAYS = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 10
REGIONS = (("eu", "EUR"), ("us", "USD"), ("apac", "JPY"))
WEIGHTS = (50, 35, 15)
# Lines of the delivery log that are held as Python values.
_LINES = 100_000


@dataclass(frozen=True, kw_only=True)
class Payments(Source):
    """Captures and refunds in order. The Kafka key is the payment, so its events stay in order, too."""

    payments: int
    seed: int

    @property
    def parameters(self) -> Mapping[str, object]:
        return {"payments": self.payments, "seed": self.seed}

    def __len__(self) -> int:
        return self.payments + self.payments // REFUNDED_EVERY

    def __iter__(self) -> Iterator[Event]:
        rng, headers = Random(self.progress_group), self.headers()
        due: list[tuple[int, dict[str, str]]] = []
        for number in range(self.payments + LATER):
            at = rfc3339(START + dt.timedelta(days=DAYS) * (number / (self.payments + LATER)))
            if due and due[0][0] == number:
                _, refunded = due.pop(0)
                yield _event({**refunded, "sequence": "2", "kind": '"refund"', "event_time": f'"{at}"'}, at, headers)
            if number < self.payments:
                columns = _capture(rng, at)
                yield _event(columns, at, headers)
                if number % REFUNDED_EVERY == REFUNDED_EVERY - 1:
                    due.append((number + LATER, columns))


def _capture(rng: Random, at: str) -> dict[str, str]:
    region, currency = rng.choices(REGIONS, WEIGHTS)[0]
    cents = 1 + int(rng.random() * 100_000)
    return {
        "payment_id": f'"{uuid.UUID(int=rng.getrandbits(128), version=4)}"',
        "sequence": "1",
        "order_id": f'"{uuid.UUID(int=rng.getrandbits(128), version=4)}"',
        "customer_id": f'"c-{int(rng.random() * 5_000):05d}"',
        "region": f'"{region}"',
        "currency": f'"{currency}"',
        "kind": '"capture"',
        "amount": f"{cents}.00" if currency == "JPY" else f"{cents // 100}.{cents % 100:02d}",
        "payment_at": f'"{at}"',
        "event_time": f'"{at}"',
    }


def _event(columns: Mapping[str, str], at: str, headers: Iterator[Headers]) -> Event:
    value = "{" + ",".join(f'"{name}":{text}' for name, text in columns.items()) + "}"
    key = columns["payment_id"].strip('"').encode()
    return Event(key=key, value=value.encode(), headers=next(headers), kind="valid", event_time=at)


def delivered(log: Path, source: Source) -> pd.DataFrame:
    """What was sent, by the producer's own record, as the oracle takes it."""
    frames: list[pd.DataFrame] = []
    headers = source.headers()
    with log.open("rb") as lines:
        while portion := list(itertools.islice(lines, _LINES)):
            records = [json.loads(line, parse_float=str) for line in portion]
            frame = pd.DataFrame([record["value"] for record in records])
            # Digits without the point: cents, exactly.
            frame["amount"] = frame["amount"].str.replace(".", "").astype("int64")
            for name in ("payment_at", "event_time"):
                frame[name] = pd.to_datetime(frame[name], format="ISO8601", utc=True).dt.as_unit("us")
            frame["kafka_partition"] = [record["partition"] for record in records]
            frame["kafka_offset"] = [record["offset"] for record in records]
            frame["correlation_id"] = [dict(next(headers))["correlation_id"].decode() for _ in records]
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)
