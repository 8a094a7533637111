"""Customers, whose every confidential value is unmistakable, and where such values may be found."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from dagster_project.contract.loader import load_catalog
from dagster_project.lake.storage import Storage
from tests.integration.lake import Lake, unique
from tests.integration.outbox.topic import Record

# What all confidential texts hold, and the one confidential number.
CANARY, PIN = "Zq7Canary", 7766554433221100
KEYS = f"k1:{base64.b64encode(b'not at all random, but of 32 byte').decode()}"

CONTRACT = """\
apiVersion: v3.2.0
kind: DataContract
id: customers
name: Customers
version: 1.0.0
status: active
servers:
  - server: kafka
    type: kafka
    host: localhost:9092
    format: json
    customProperties:
      - {property: partitions, value: 2}
      - {property: replicationFactor, value: 1}
      - {property: minInsyncReplicas, value: 1}
schema:
  - name: customers
    physicalName: shop.customers
    physicalType: topic
    logicalType: object
    customProperties:
      - {property: eventTime, value: seen_at}
      - {property: partitionTime, value: joined}
      - {property: startDate, value: "2026-01-01"}
      - {property: writeMode, value: upsert}
    properties:
      - {name: customer_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1, classification: confidential}
      - {name: seen_at, logicalType: timestamp, required: true}
      - {name: joined, logicalType: timestamp, required: true}
      - {name: region, logicalType: string, required: true, partitioned: true, enum: [{value: eu}, {value: us}]}
      - {name: email, logicalType: string, required: true, classification: confidential, logicalTypeOptions: {pattern: "@"}}
      - {name: pin, logicalType: integer, classification: restricted, logicalTypeOptions: {minimum: 1}}
      - {name: born, logicalType: date, classification: confidential}
      - {name: address, logicalType: object, classification: confidential, properties: [{name: street, logicalType: string}]}
      - {name: spent, logicalType: integer, required: true}
    quality:
      - {id: not_before, type: custom, engine: platform, implementation: seen_at >= joined, severity: error}
slaProperties:
  - {property: retention, value: 3650, unit: days}
team:
  name: crm
"""
MART = """\
apiVersion: v3.2.0
kind: DataContract
id: spending
name: Spending
version: 1.0.0
status: active
schema:
  - name: spending
    physicalType: table
    logicalType: object
    customProperties:
      - {property: inputs, value: [customers]}
      - {property: partitionedBy, value: [event_date, region]}
    properties:
      - {name: event_date, logicalType: date, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: region, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2}
      - {name: customer_id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 3}
      - {name: spent, logicalType: integer}
team:
  name: crm
"""
SQL = "SELECT event_date, region, customer_id, sum(spent) AS spent FROM silver.customers GROUP BY ALL"


def project(folder: Path) -> Path:
    """A project folder with the two contracts, on a topic of its own."""
    document = yaml.safe_load(CONTRACT)
    document["schema"][0]["physicalName"] = unique("shop.customers")
    contracts = folder / "contracts"
    contracts.mkdir(parents=True)
    (contracts / "customers.odcs.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (contracts / "spending.odcs.yaml").write_text(MART)
    (contracts / "spending.sql").write_text(SQL)
    return folder


def lake_of(folder: Path, *, servers: str, uri: str) -> Lake:
    catalog = load_catalog(folder / "contracts")
    lake = Lake(
        catalog=catalog, dataset=catalog.datasets[0], servers=servers, storage=Storage.at(uri), home=folder / "home"
    )
    lake.create_topic()
    return lake


def customer(number: int, *, day: int = 5, hour: int = 12, region: str = "eu", **more: Any) -> Record:
    """An event of a customer; `more` replaces fields or adds some."""
    name = f"{CANARY}-{number}"
    values = {
        "customer_id": name,
        "seen_at": f"2026-01-{day:02}T{hour:02}:00:00Z",
        "joined": f"2026-01-{day:02}T00:00:00Z",
        "region": region,
        "email": f"{CANARY}{number}@example.com",
        "pin": PIN + number,
        "born": "1911-11-11",
        "address": {"street": f"{CANARY} Street {number}"},
        "spent": 1,
        **more,
    }
    return Record(name.encode(), json.dumps(values).encode())


@dataclass(frozen=True, kw_only=True)
class Found:
    """A value that was found in a file."""

    path: str
    what: str


def searched(root: Path, *needles: bytes) -> Iterator[Found]:
    """Where values are in files below a folder: as bytes, and in what Parquet packs, by a reader that the code under test
    does not use.
    """
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        for needle in needles:
            if needle in content:
                yield Found(path=str(path), what=f"{needle!r} as bytes")
        if path.suffix == ".parquet":
            for name, text in _unpacked(content):
                for needle in needles:
                    if needle in text:
                        yield Found(path=str(path), what=f"{needle!r} in {name}")


def _unpacked(content: bytes) -> Iterator[tuple[str, bytes]]:
    for batch in pq.ParquetFile(io.BytesIO(content)).iter_batches():
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            yield name, repr(pa.array(column).to_pylist()).encode()
