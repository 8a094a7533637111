"""A subject: the values that tell the rows about somebody, and how to find them in rows, messages and files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from dagster_project.contract.model import Column, Dataset
from dagster_project.errors import LakeError
from dagster_project.ingest.exact import Rejected, decode_key
from dagster_project.refine.pseudonyms import Keyring

# Texts as long as this are looked for wherever there is text; shorter ones are other things, too, and count only under the
# name of their column.
_LONG = 6
# Of what a pattern finds, neither side goes on: customer-1 is not in customer-10.
_LEFT, _RIGHT = r"(?:^|[^0-9A-Za-z_-])", r"(?:$|[^0-9A-Za-z_-])"
# Of these a value has one spelling, so that it can be found in text; others are compared by value alone.
_SPELLED = ("string", "integer")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column of a subject.

    Attributes:
        value: of the column's type.
        published: what it may be called from Silver on, by one key or another; empty if it is not there.
        pattern: finds it in any text, `None` if it has no one spelling.
    """

    column: Column
    value: Any
    published: tuple[Any, ...]
    pattern: re.Pattern[str] | None

    def is_in(self, rows: pl.DataFrame) -> pl.Series:
        """By row, whether it has the value anywhere, also nested or in bytes."""
        spelled = pl.Series([self.value]).cast(pl.String).item()
        own = pl.Series([spelled, *map(str, self.published)], dtype=pl.String).implode()
        found = pl.repeat(False, len(rows), eager=True)
        for name, values, places in _leaves(rows):
            hit = values.cast(pl.String).is_in(own) if name == self.column.name and values.dtype != pl.Binary else None
            if self.pattern is not None and (text := _text(values)) is not None:
                inside = text.str.contains(self.pattern.pattern)
                hit = inside if hit is None else hit.fill_null(False) | inside
            if hit is not None:
                found = found.scatter(places.filter(hit.fill_null(False)), True) if hit.any() else found
        return found


@dataclass(frozen=True, kw_only=True)
class Subject:
    """All of what tells a subject: a row is about it if it has every feature."""

    features: tuple[Feature, ...]

    @classmethod
    def of(cls, dataset: Dataset, values: Mapping[str, str]) -> Subject:
        """The subject of these values, by column.

        Raises:
            LakeError: there is no such column, or the text is no value of it; it is not repeated.
            ConfigurationError: the column has pseudonyms, and there is no secret.
        """
        return cls(features=tuple(_feature(dataset, name, text) for name, text in values.items()))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.column.name for feature in self.features)

    def in_the_clear(self) -> pl.Expr:
        """Rows of Bronze about the subject, by what was decoded of them."""
        return pl.all_horizontal(pl.col(item.column.name) == item.value for item in self.features)

    def published(self) -> pl.Expr:
        """Rows of Silver about the subject; none where it lacks one of the columns."""
        if not all(item.published for item in self.features):
            return pl.lit(value=False)
        return pl.all_horizontal(pl.col(item.column.name).is_in(list(item.published)) for item in self.features)

    def is_in(self, rows: pl.DataFrame) -> pl.Series:
        """By row, whether it has every feature anywhere."""
        found = pl.repeat(True, len(rows), eager=True)
        for feature in self.features:
            found &= feature.is_in(rows)
        return found


def _feature(dataset: Dataset, name: str, text: str) -> Feature:
    column = next((column for column in dataset.columns if column.name == name), None)
    if column is None:
        raise LakeError(
            f"{dataset.name} has no column {name!r}",
            expected="one of " + ", ".join(column.name for column in dataset.columns),
            remedy="name a column of the contract, as --key or --column <name>=<value>",
        )
    try:
        value = decode_key(text.encode(), [column])[name]
    except Rejected as error:
        raise LakeError(
            f"what was given is no value of {dataset.name}.{name}",
            expected=f"a {column.type.kind}",
            remedy="correct it; values are compared as they are spelled",
        ) from error
    names: tuple[Any, ...] = (value,)
    if column.protection == "pseudonymise":
        names = tuple(Keyring.load().all_of(str(value), domain=column.pseudonym_domain))
    elif column.protection == "drop":
        names = ()
    spelled = column.type.kind in _SPELLED
    hidden = names if column.protection else ()
    return Feature(
        column=column, value=value, published=names, pattern=_pattern(name, str(value), hidden) if spelled else None
    )


def _pattern(name: str, text: str, pseudonyms: tuple[str, ...]) -> re.Pattern[str]:
    texts = {text, json.dumps(text)[1:-1]}  # as it is, and as JSON may escape it
    choice = "|".join(map(re.escape, sorted(texts)))
    if len(text) < _LONG:
        choice = rf'"{re.escape(name)}"\s*:\s*"?(?:{choice})'
    return re.compile(_LEFT + "(?:" + "|".join([choice, *map(re.escape, pseudonyms)]) + ")" + _RIGHT)


def _leaves(rows: pl.DataFrame) -> Iterator[tuple[str, pl.Series, pl.Series]]:
    """By column, and by field and element inside of one: its name, its values, and the row of each."""
    places = pl.int_range(len(rows), eager=True)
    for column in rows.get_columns():
        yield from _inside(column.name, column, places)


def _inside(name: str, values: pl.Series, places: pl.Series) -> Iterator[tuple[str, pl.Series, pl.Series]]:
    if isinstance(values.dtype, pl.Struct):
        for field in values.struct.unnest().get_columns():
            yield from _inside(field.name, field, places)
    elif isinstance(values.dtype, (pl.List, pl.Array)):
        elements = pl.DataFrame({"place": places, "value": values}).explode("value")
        yield from _inside(name, elements["value"], elements["place"])
    else:
        yield name, values, places


def _text(values: pl.Series) -> pl.Series | None:
    if values.dtype == pl.String:
        return values
    if values.dtype != pl.Binary:
        return None
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        # Not UTF-8, as Avro's are not: what is text in them is found all the same.
        plain = [None if value is None else value.decode("utf-8", errors="replace") for value in values]
        return pl.Series(plain, dtype=pl.String)
