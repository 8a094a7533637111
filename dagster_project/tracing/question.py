"""What is asked for: the place of a message, a merge key, or a correlation id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import LakeError
from dagster_project.ingest.exact import Rejected, decode_key

_PLACE = re.compile(r"(?P<topic>.+)/(?P<partition>\d{1,9})/(?P<offset>\d{1,18})")
# Commas may be in values: only one that a name follows ends one.
_PART = re.compile(r",(?=[A-Za-z_]\w*=)")
_KEY = re.compile(r"[A-Za-z_]\w*=.+", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class AtPlace:
    """The message at one offset."""

    partition: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class WithKey:
    """All messages with one merge key.

    Attributes:
        values: by column, as they are sent.
        spelled: the key of such messages in Kafka, where a producer spells it as deletes need it.
    """

    values: Mapping[str, Any]
    spelled: bytes


@dataclass(frozen=True, kw_only=True)
class WithId:
    """All messages with one correlation id."""

    correlation_id: str


Question = AtPlace | WithKey | WithId


def ask(what: str, *, catalog: Catalog, dataset: str | None = None) -> list[tuple[Dataset, Question]]:
    """By dataset that may have the answer, what is to be looked for.

    Args:
        what: `<topic>/<Kafka partition>/<offset>`, `<column>=<value>,…` of a merge key, or else a correlation id. The
            topic may be called by its dataset's name.
        dataset: look only there.

    Raises:
        LakeError: it is none of these, or no dataset can have it.
        ContractError: there is no such dataset.
    """
    chosen = catalog.datasets if dataset is None else (catalog.dataset(dataset),)
    if not what.strip():
        raise _refuse("nothing to look for", chosen)
    if match := _PLACE.fullmatch(what):
        found = [item for item in chosen if match["topic"] in {item.topic.name, item.name}]
        if found:
            asked = AtPlace(partition=int(match["partition"]), offset=int(match["offset"]))
            return [(item, asked) for item in found]
    if _KEY.fullmatch(what):
        return _keyed(what, chosen)
    return [(item, WithId(correlation_id=what)) for item in chosen]


def _keyed(what: str, chosen: Iterable[Dataset]) -> list[tuple[Dataset, Question]]:
    texts = dict(part.split("=", 1) for part in _PART.split(what))
    found = [item for item in chosen if set(item.merge_key) == texts.keys()]
    if not found:
        raise _refuse(f"no merge key has the columns {', '.join(texts)}", chosen)
    asked: list[tuple[Dataset, Question]] = []
    reasons: list[str] = []
    for item in found:
        try:
            values = {name: decode_key(text.encode(), [item.column(name)])[name] for name, text in texts.items()}
        except Rejected as reason:
            reasons.append(f"{item.name}: {reason}")
        else:
            spelled = "|".join(texts[name] for name in item.merge_key).encode()
            asked.append((item, WithKey(values=values, spelled=spelled)))
    if not asked:
        raise _refuse("; ".join(reasons), found)
    return asked


def _refuse(found: str, chosen: Iterable[Dataset]) -> LakeError:
    keys = "; ".join(f"{item.name}: " + ",".join(f"{name}=…" for name in item.merge_key) for item in chosen)
    return LakeError(
        found,
        expected=f"<topic>/<Kafka partition>/<offset>, a correlation id, or a whole merge key ({keys})",
        remedy="correct it; values of a key are spelled as in the messages",
    )
