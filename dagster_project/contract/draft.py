"""A complete contract from sample messages: what the platform can tell from them, and what a person should look at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from dagster_project.contract.infer import Guess, Report, infer_columns
from dagster_project.contract.sample import observe
from dagster_project.errors import ContractError

_EVENT_TIMES = ("event_time", "timestamp", "occurred_at", "time", "ts", "created_at", "at")
_REGIONS = ("region", "country", "site", "zone", "location", "origin")
_KEYS = ("id", "uuid", "key")
_MOST_KEY_COLUMNS = 4
_KEY_TYPES = ("string", "integer", "timestamp", "date")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the user decided; empty where the sample is to decide."""

    key: tuple[str, ...] = ()
    event_time: str = ""
    region: str = ""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A contract as YAML, and all that was guessed for it."""

    text: str
    guesses: tuple[Guess, ...]


def draft(name: str, messages: Sequence[Mapping[str, Any]], *, choice: Choice) -> Draft:
    """Write a contract that these messages keep.

    Raises:
        ContractError: no column can be the event time or the region, or no key tells the messages apart.
    """
    guesses: list[Guess] = []

    def report(path: str, guess: str, because: str) -> None:
        guesses.append(Guess(path=path, guess=guess, because=because))

    columns = {item["name"]: item for item in infer_columns(observe(messages), report)}
    event_time = _event_time(columns, choice, report)
    region = _region(columns, choice, report)
    key = _key(columns, messages, choice, event_time, report)
    start = min(_moment(message[event_time]) for message in messages).astimezone(dt.UTC).date()
    report("start date", str(start), "the first day in the sample; earlier events would be poison")
    report("write mode", "append", "the sample does not say whether later messages replace earlier ones of a key")
    for place, column in enumerate(key, start=1):
        columns[column] |= {"primaryKey": True, "primaryKeyPosition": place}
    columns[region] |= {"partitioned": True, "partitionKeyPosition": 1}
    document = _document(name, list(columns.values()), event_time=event_time, start=start)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return Draft(text=f"# Drafted from {len(messages):,} sample messages.\n{text}", guesses=tuple(guesses))


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _event_time(columns: Mapping[str, Mapping[str, Any]], choice: Choice, report: Report) -> str:
    times = [name for name, item in columns.items() if item["logicalType"] == "timestamp" and item.get("required")]
    if choice.event_time:
        return _chosen(choice.event_time, times, "a timestamp that all messages have")
    if not times:
        raise ContractError(
            "no column can be the event time",
            expected="an ISO 8601 timestamp that all messages have",
            remedy="add one to the messages: without it nothing can be put in order, or be late",
        )
    found = min(times, key=lambda name: _EVENT_TIMES.index(name) if name in _EVENT_TIMES else len(_EVENT_TIMES))
    others = ", ".join(name for name in times if name != found)
    because = f"by its name; also possible: {others}" if others else "no other timestamp is in all messages"
    report("event time", found, because)
    return found


def _region(columns: Mapping[str, Mapping[str, Any]], choice: Choice, report: Report) -> str:
    enums = [name for name, item in columns.items() if "enum" in item and item.get("required")]
    if choice.region:
        return _chosen(choice.region, enums, "a string with few values that all messages have")
    if not enums:
        raise ContractError(
            "no column can be the region",
            expected="a string that all messages have, with few values, each of them often",
            remedy="add one to the messages, or take a larger sample: tables are partitioned by date and region",
        )
    named = [name for name in _REGIONS if name in enums]
    found = named[0] if named else min(enums, key=lambda name: len(columns[name]["enum"]))
    report("region", found, "by its name" if named else "it has the fewest values")
    return found


def _key(
    columns: Mapping[str, Mapping[str, Any]],
    messages: Sequence[Mapping[str, Any]],
    choice: Choice,
    event_time: str,
    report: Report,
) -> tuple[str, ...]:
    able = [name for name, item in columns.items() if item["logicalType"] in _KEY_TYPES and item.get("required")]
    if choice.key:
        return tuple(_chosen(name, able, "a column that all messages have") for name in choice.key)
    # Whole messages may come twice; a key tells apart those that differ.
    different = list(
        {tuple((name, str(message.get(name))) for name in columns): message for message in messages}.values()
    )
    found: list[str] = []
    for _ in range(_MOST_KEY_COLUMNS):
        left = [name for name in able if name not in found]
        if not left:
            break
        # The one that tells most apart; of equals one that is called a key, and rather not the time.
        found.append(
            max(left, key=lambda name: (_told_apart(different, [*found, name]), _is_key(name), name != event_time))
        )
        if _told_apart(different, found) == len(different):
            for name in found[:-1]:
                fewer = [other for other in found if other != name]
                found = fewer if _told_apart(different, fewer) == len(different) else found
            report("key", ", ".join(found), f"{len(found)} columns tell all messages of the sample apart")
            return tuple(name for name in columns if name in found)
    raise ContractError(
        f"no {_MOST_KEY_COLUMNS} columns tell the {len(different):,} messages apart",
        expected="a key: columns that name what a message is about",
        remedy="say which with --key, as in --key order_id or --key carrier,flight,day",
    )


def _told_apart(messages: Sequence[Mapping[str, Any]], names: Sequence[str]) -> int:
    return len({tuple(message[name] for name in names) for message in messages})


def _is_key(name: str) -> bool:
    return name in _KEYS or name.endswith(tuple(f"_{key}" for key in _KEYS))


def _chosen(name: str, possible: Sequence[str], what: str) -> str:
    if name not in possible:
        raise ContractError(
            f"{name!r} cannot be it", expected=what, remedy=f"choose from {', '.join(possible) or 'none'}"
        )
    return name


def _document(name: str, columns: list[dict[str, Any]], *, event_time: str, start: dt.date) -> dict[str, Any]:
    return {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": name,
        "name": name,
        "version": "1.0.0",
        "status": "draft",
        "domain": "default",
        "description": {"purpose": "To be said."},
        "servers": [
            {
                "server": "kafka",
                "type": "kafka",
                "host": "kafka:9092",
                "format": "json",
                "customProperties": [
                    {"property": "partitions", "value": 4},
                    {"property": "replicationFactor", "value": 3},
                    {"property": "minInsyncReplicas", "value": 2},
                ],
            }
        ],
        "schema": [
            {
                "name": name,
                "physicalName": name,
                "physicalType": "topic",
                "logicalType": "object",
                "customProperties": [
                    {"property": "eventTime", "value": event_time},
                    {"property": "startDate", "value": str(start)},
                    {"property": "writeMode", "value": "append"},
                ],
                "properties": columns,
            }
        ],
        "slaProperties": [
            {"property": "freshness", "value": 1, "unit": "hours"},
            {"property": "latency", "value": 5, "unit": "minutes"},
            {"property": "retention", "value": 30, "unit": "days"},
        ],
        "team": {"name": "to-be-said"},
    }
