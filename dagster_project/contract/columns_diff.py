"""Comparing the columns of two versions of a contract."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from dagster_project.contract.change import Change, additive, breaking
from dagster_project.contract.dtypes import describe
from dagster_project.contract.model import Column, Constraints, DataType

_TIGHTER = "rows that were good may be quarantined"
_LOOSER = "all that was good stays good"
# Names that are this much alike, of one type, are the same column renamed; below, chance resemblances begin.
_ALIKE = 0.6
_INT_DIGITS = {32: 10, 64: 19}


def compare_columns(old: Sequence[Column], new: Sequence[Column], *, within: str = "") -> Iterator[Change]:
    """Changes of columns and of all that is in them."""
    before, after = ({column.name: column for column in columns} for columns in (old, new))
    added = [column for column in new if column.name not in before]
    for column in old:
        path = within + column.name
        if (now := after.get(column.name)) is not None:
            yield from _compare(path, column, now)
        elif told := next((item for item in added if item.renamed_from == column.name), None):
            added.remove(told)
            reason = (
                "queries of the version's own table that name it fail; what reads the version that serves finds both"
            )
            yield breaking(path, f"renamed to {told.name}", reason)
            yield from _compare(within + told.name, column, told)
        elif renamed := _looks_renamed(column, added):
            added.remove(renamed)
            reason = "queries that name it fail; give the new major version a COALESCE view over both names"
            yield breaking(path, f"renamed to {renamed.name}", reason)
        else:
            yield breaking(path, "removed", "queries that name it fail")
    for column in added:
        path = within + column.name
        if column.required:
            yield breaking(path, "added, required", "messages that were written before do not have it")
        else:
            yield additive(path, "added, optional", "messages and rows that do not have it hold null")


def _looks_renamed(column: Column, added: Sequence[Column]) -> Column | None:
    names = {item.name: item for item in added if item.type == column.type and not item.renamed_from}
    near = difflib.get_close_matches(column.name, names, n=1, cutoff=_ALIKE)
    return names[near[0]] if near else None


def _compare(path: str, old: Column, new: Column) -> Iterator[Change]:
    yield from _compare_types(path, old.type, new.type)
    if old.required != new.required:
        if new.required:
            yield breaking(path, "optional → required", _TIGHTER)
        else:
            yield breaking(path, "required → optional", "queries that count on a value meet null")
    if old.type.kind == new.type.kind:  # of another type they cannot be the same ones
        yield from _compare_constraints(path, old.constraints, new.constraints)
    forms = _form(old), _form(new)
    if old.classification != new.classification or forms[0] != forms[1]:
        classes = f"classification {old.classification or 'none'} → {new.classification or 'none'}"
        told = [classes] if old.classification != new.classification else []
        told += [f"from Silver on {forms[0]} → {forms[1]}"] if forms[0] != forms[1] else []
        yield breaking(path, "; ".join(told), "it decides who may see the values, and in which form")
    if old.description != new.description:
        yield additive(path, "description changed", "no row is touched by it")


def _form(column: Column) -> str:
    match column.protection:
        case "pseudonymise":
            return f"a pseudonym of domain {column.pseudonym_domain}"
        case "drop":
            return "dropped"
        case _:
            return "in the clear"


def _compare_types(path: str, old: DataType, new: DataType) -> Iterator[Change]:
    if old.kind == new.kind == "struct":
        yield from compare_columns(old.fields, new.fields, within=f"{path}.")
    elif old.kind == new.kind == "list":
        assert old.element is not None
        assert new.element is not None
        yield from _compare_types(f"{path}[]", old.element, new.element)
    elif old != new:
        what = f"{describe(old)} → {describe(new)}"
        if _is_wider(old, new):
            # delta-rs writes no tables with the feature typeWidening, without which files of the old type are unreadable.
            yield breaking(
                path, f"widened: {what}", "tables keep the type they were made with; add a column of the new one"
            )
        elif _is_wider(new, old):
            yield breaking(path, f"narrowed: {what}", "values that were good no longer fit")
        else:
            yield breaking(path, f"another type: {what}", "values and queries of the old type do not fit the new one")


def _is_wider(old: DataType, new: DataType) -> bool:
    """Whether every value of the old type is one of the new, exactly."""
    match old.kind, new.kind:
        case "integer", "integer":
            return new.bits > old.bits
        case "integer", "number":
            return old.bits == min(_INT_DIGITS)  # doubles hold 53 bits exactly
        case "integer", "decimal":
            return new.precision - new.scale >= _INT_DIGITS[old.bits]
        case "decimal", "decimal":
            return new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
        case _:
            return False


def _compare_constraints(path: str, old: Constraints, new: Constraints) -> Iterator[Change]:
    yield from _compare_enums(path, old.enum, new.enum)
    for name, before, after, lower in (
        ("minimum", old.minimum, new.minimum, True),
        ("maximum", old.maximum, new.maximum, False),
        ("exclusiveMinimum", old.exclusive_minimum, new.exclusive_minimum, True),
        ("exclusiveMaximum", old.exclusive_maximum, new.exclusive_maximum, False),
        ("minLength", old.min_length, new.min_length, True),
        ("maxLength", old.max_length, new.max_length, False),
        ("minItems", old.min_items, new.min_items, True),
        ("maxItems", old.max_items, new.max_items, False),
    ):
        if before != after:
            what = f"{name} {'none' if before is None else before} → {'none' if after is None else after}"
            if _is_looser(before, after, lower=lower):
                yield additive(path, what, _LOOSER)
            else:
                yield breaking(path, what, _TIGHTER)
    for name, before, after in (
        ("pattern", old.pattern, new.pattern),
        ("multipleOf", old.multiple_of, new.multiple_of),
        ("uniqueItems", old.unique_items or None, new.unique_items or None),
        ("notInFuture", old.not_in_future, new.not_in_future),
    ):
        if before != after and after is None:
            yield additive(path, f"{name} removed", _LOOSER)
        elif before != after:
            yield breaking(path, f"{name} added" if before is None else f"another {name}", _TIGHTER)


def _is_looser(old: float | str | None, new: float | str | None, *, lower: bool) -> bool:
    """Whether a bound lets through all that it did; moments in ISO 8601 compare as their text does, if both are spelt alike."""
    if new is None or old is None:
        return new is None
    if isinstance(old, str) or isinstance(new, str):
        return len(str(old)) == len(str(new)) and (str(new) < str(old) if lower else str(new) > str(old))
    return new < old if lower else new > old


def _compare_enums(path: str, old: tuple[object, ...], new: tuple[object, ...]) -> Iterator[Change]:
    if old == new:
        return
    if not new:
        yield additive(path, "enum removed", _LOOSER)
        return
    gone = [str(value) for value in old if value not in new]
    come = [str(value) for value in new if value not in old]
    if not old or gone:
        yield breaking(path, "enum added" if not old else f"enum without {', '.join(gone)}", _TIGHTER)
    if old and come:
        yield additive(path, f"enum with {', '.join(come)}", _LOOSER)
    if set(old) == set(new):
        yield additive(path, "enum in another order", _LOOSER)
