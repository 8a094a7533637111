"""How Dagster names the tables and topics of the lake."""

from __future__ import annotations

from typing import Literal

import dagster as dg

from dagster_project.lake.storage import Layer


def asset_key(layer: Layer | Literal["kafka", "dlq", "expiry", "upkeep", "serving"], name: str) -> dg.AssetKey:
    """The asset of a table, of the topic that a dataset comes from, of its dead-letter queue, of what is served, or of maintenance."""
    return dg.AssetKey([layer, name])


def check_name(*parts: str) -> str:
    """The name of a check, such as its kind and its region, in the characters that Dagster allows."""
    return "_".join("".join(character if character.isalnum() else "_" for character in part) for part in parts)
