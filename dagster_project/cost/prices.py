"""The price book: what machines, the store and streams cost, from one YAML file and a project's own beside it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml

from dagster_project.errors import ConfigurationError

BOOK = Path(__file__).with_name("prices.yaml")
_REMEDY = f"mend the file that LAKEHOUSE_PRICES names; {BOOK.name} beside the package's cost/prices.py shows all of it"
_T = TypeVar("_T")
_Lines = Mapping[tuple[str, ...], str]


@dataclass(frozen=True, kw_only=True)
class Store:
    """Of S3: dollars for 2³⁰ bytes and month, and for a thousand requests; `months` that what is written counts as kept."""

    gb_month: float
    thousand_puts: float
    thousand_gets: float
    months: float


@dataclass(frozen=True, kw_only=True)
class Vm:
    """Of EC2: dollars for a vCPU and hour, the share of it that reserved ones cost, and the sizes that there are."""

    vcpu_hour: float
    reserved_share: float
    vcpus: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Fargate:
    """Of ECS on Fargate: dollars for an hour."""

    vcpu_hour: float
    gb_hour: float


@dataclass(frozen=True, kw_only=True)
class Glue:
    """Of Glue: dollars for a DPU and hour, its vCPUs, the fewest DPUs of a job, and what of its start is billed."""

    dpu_hour: float
    dpu_vcpus: int
    least_dpus: int
    start_minutes: float


@dataclass(frozen=True, kw_only=True)
class Emr:
    """Of EMR: dollars for a node and hour, of EC2 and of EMR itself; nodes beside those that work; its start, which is billed."""

    node_hour: float
    service_hour: float
    node_vcpus: int
    primary_nodes: int
    start_minutes: float


@dataclass(frozen=True, kw_only=True)
class Msk:
    """Of MSK: dollars for a broker and hour, for 2³⁰ bytes and month; 10⁶ bytes a second for a broker, copies of each event."""

    broker_hour: float
    gb_month: float
    broker_mb_s: float
    brokers: int
    copies: int


@dataclass(frozen=True, kw_only=True)
class Kinesis:
    """Of Kinesis: dollars for a shard and hour, beside it for longer retention, for 10⁶ units; what a shard takes in."""

    shard_hour: float
    long_shard_hour: float
    million_units: float
    unit_kb: float
    shard_mb_s: float
    shard_records_s: float


@dataclass(frozen=True, kw_only=True)
class Prices:
    """All prices, in dollars."""

    store: Store
    vm: Vm
    fargate: Fargate
    glue: Glue
    emr: Emr
    msk: Msk
    kinesis: Kinesis


@functools.cache
def load_prices(own: Path | None = None) -> Prices:
    """The price book, with what a project's own file says in the place of the package's.

    Raises:
        ConfigurationError: a file cannot be read, or holds something else than prices; with file and line.
    """
    lines: dict[tuple[str, ...], str] = {}
    data = _read(BOOK, lines)
    if own is not None:
        data = _over(data, _read(own, lines))
    return _built(Prices, data, (), lines)


def _read(path: Path, lines: dict[tuple[str, ...], str]) -> dict[str, Any]:
    """The mappings of a file, and where each of its keys stands."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error}",
            expected="a price book",
            remedy="set LAKEHOUSE_PRICES to one, or unset it for the list prices",
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refuse(f"{path}:{mark.line + 1 if mark else 1}", f"not YAML: {error.problem}", "valid YAML") from error
    if not isinstance(node, yaml.MappingNode):
        raise _refuse(f"{path}:1", "no mapping", f"prices under {', '.join(get_type_hints(Prices))}")
    lines[()] = f"{path}:1"
    return _plain(node, (), path, lines)


def _plain(
    node: yaml.MappingNode, at: tuple[str, ...], path: Path, lines: dict[tuple[str, ...], str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.value:
        here = (*at, str(key.value))
        line = f"{path}:{key.start_mark.line + 1}"
        if key.value in found:
            raise _refuse(line, f"{'.'.join(here)} a second time", "each price once")
        lines[here] = line
        found[key.value] = (
            _plain(value, here, path, lines)
            if isinstance(value, yaml.MappingNode)
            # Plain values, and lists of them, which no name leads into.
            else yaml.constructor.SafeConstructor().construct_object(value, deep=True)  # pyright: ignore[reportUnknownMemberType] untyped
        )
    return found


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two trees as one, where the one above has the say."""
    return {
        **below,
        **{
            name: _over(below[name], value) if isinstance(value, dict) and isinstance(below.get(name), dict) else value
            for name, value in above.items()
        },
    }


def _built(kind: type[_T], data: Any, at: tuple[str, ...], lines: _Lines) -> _T:
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    if not isinstance(data, dict):
        raise _refuse(lines[at], f"{'.'.join(at)}: {data!r}", f"prices: {', '.join(hints)}")
    for name in data:
        if name not in hints:
            near = get_close_matches(str(name), hints, n=1)
            wanted = near[0] if near else f"one of {', '.join(hints)}"
            raise _refuse(lines[(*at, name)], f"{'.'.join((*at, str(name)))} is no price", wanted)
    # The package's own book has all of them, and nothing takes one away.
    return kind(
        **{item.name: _value(hints[item.name], data[item.name], (*at, item.name), lines) for item in fields(kind)}
    )


def _value(kind: Any, value: Any, at: tuple[str, ...], lines: _Lines) -> Any:
    if isinstance(kind, type) and is_dataclass(kind):
        return _built(kind, value, at, lines)
    where = "".join(lines[at])
    if kind is float and _is_number(value) and 0 <= value < float("inf"):
        return float(value)
    if kind is int and _is_count(value):
        return value
    if kind == tuple[int, ...] and isinstance(value, list) and value and all(map(_is_count, value)):
        return tuple(sorted(value))
    wanted = {float: "a number, 0 or more", int: "a whole number, 1 or more"}.get(kind, "a list of whole numbers")
    raise _refuse(where, f"{'.'.join(at)}: {value!r}", wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _refuse(where: str, found: str, expected: str) -> ConfigurationError:
    return ConfigurationError(f"{where}: {found}", expected=expected, remedy=_REMEDY)
