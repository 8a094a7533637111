"""Write, audit, publish in Gold: what of a mart's staged rows may be published."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Mart
from dagster_project.contract.publishing import APPEND_ONLY
from dagster_project.contract.quality import Severity
from dagster_project.errors import RuleError
from dagster_project.lake.keys import Key
from dagster_project.quality.audit import Finding, audit
from dagster_project.refine.cursors import HELD, cursor_keys, cursor_name
from dagster_project.refine.parts import parts

# Table partitions that an error names.
_NAMED = 5
_BROKEN = "broken"
Read = Callable[[Sequence[Key]], Mapping[str, pl.LazyFrame]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an audit found.

    Attributes:
        published: table partitions that are to be published.
        broken: by table partition, rules of severity error that it breaks; it stays as it was.
        warnings: by table partition that is published all the same, rules that it breaks.
    """

    published: Sequence[Key]
    broken: Mapping[Key, Sequence[Finding]]
    warnings: Mapping[Key, Sequence[Finding]]

    def cursors(self, moved: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
        """The cursors to be committed: of what is held back under other names, so that the mart's own stay as they were.

        Args:
            moved: cursors of publishing all of it.
            known: the cursors of the mart.
        """
        # What a cursor's name ends with says of which table partition it is.
        kept = tuple(cursor_name("", key) for key in self.broken)
        done = tuple(cursor_name("", key) for key in self.published)
        cursors = {f"{HELD}{name}" if name.endswith(kept) else name: value for name, value in moved.items()}
        for name in known:
            if name.startswith(HELD) and name.endswith(done):
                cursors[name] = -1
            elif name.startswith(f"{_BROKEN}/") and name.endswith((*done, *kept)):
                cursors[name] = 0
        broken = {cursor_name(f"{_BROKEN}/{item.rule}", key): 1 for key, own in self.broken.items() for item in own}
        return cursors | broken


class RefusedError(RuleError):
    """Rows of a CP mart break a rule; nothing of the batch was published, and nothing of it is marked as done."""

    def __init__(self, mart: Mart, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__(
            f"mart {mart.name}: {len(verdict.broken)} table partitions break a rule: {_told(verdict.broken)}",
            expected="every rule kept in every table partition of the batch, as the mart is CP: nothing of it was published",
            remedy=f"look for what its inputs lack or have too much, by the rules in {mart.source.name}; the next run tries "
            "again",
        )


def audited(mart: Mart, staged: pl.DataFrame, keys: Sequence[Key], *, read: Read, before: pl.DataFrame) -> Verdict:
    """Measure staged table partitions before they are published.

    Args:
        keys: all table partitions that the rows are to replace, those without a row, too.
        read: gives what the SQL reads for some of them, by name, such as `silver.payments`.
        before: what the mart has of them.

    Raises:
        RefusedError: the mart is CP, and a rule is broken.
        ContractError: an SQL rule cannot be run.
    """
    if not mart.rules and not mart.append_only:
        return Verdict(published=keys, broken={}, warnings={})
    found = dict(_findings(mart, staged, keys, read, before))
    errors = {key: [item for item in own if item.severity == "error"] for key, own in found.items()}
    broken = {key: own for key, own in errors.items() if own}
    verdict = Verdict(
        published=[key for key in keys if key not in broken],
        broken=broken,
        warnings={key: own for key, own in found.items() if key not in broken and own},
    )
    if broken and mart.consistency == "cp":
        raise RefusedError(mart, verdict)
    return verdict


def severities(mart: Mart) -> dict[str, Severity]:
    """All rules of a mart by name, with their severity."""
    found: dict[str, Severity] = {rule.id: rule.severity for rule in mart.rules}
    if mart.append_only:
        found[APPEND_ONLY] = "error"
    return found


def held(cursors: Mapping[str, int], rule: str) -> list[Key]:
    """Table partitions of a mart that are held back as the table stands, because they would break a rule."""
    return [key for key, broken in cursor_keys(cursors, f"{_BROKEN}/{rule}").items() if broken]


def _findings(
    mart: Mart, staged: pl.DataFrame, keys: Sequence[Key], read: Read, before: pl.DataFrame
) -> Iterator[tuple[Key, list[Finding]]]:
    rules = [rule for rule in mart.rules if rule.scope == "partition"]
    of_batch = [rule for rule in mart.rules if rule.scope == "batch"]
    whole = audit(of_batch, staged.lazy(), inputs=read(keys)) if of_batch else []
    new, old = parts(mart, staged), parts(mart, before) if mart.append_only else {}
    for key in keys:
        own = new.get(key, staged.clear())
        found = [*whole, *(audit(rules, own.lazy(), inputs=read([key])) if rules else [])]
        if key in old and (lost := _lost(mart, old[key], own)):
            found.append(Finding(rule=APPEND_ONLY, severity="error", found=lost, expected="exactly 0"))
        yield key, found


def _lost(mart: Mart, before: pl.DataFrame, staged: pl.DataFrame) -> int:
    """How many published rows are not among the staged ones, or not as they were."""
    key = list(mart.merge_key)
    others = [column.name for column in mart.columns if column.name not in key]
    both = before.join(staged.with_columns(_staged=True), on=key, how="left", suffix="_staged")
    differs = (pl.col(name).ne_missing(pl.col(f"{name}_staged")) for name in others)
    return both.filter(pl.any_horizontal(pl.col("_staged").is_null(), *differs)).height


def _told(broken: Mapping[Key, Sequence[Finding]]) -> str:
    named = [f"{key} ({'; '.join(map(str, found))})" for key, found in list(broken.items())[:_NAMED]]
    return ", ".join(named) + (", …" if len(broken) > _NAMED else "")
