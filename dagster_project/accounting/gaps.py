"""The gaps of Bronze, each with its proven kind: by the broker where it still has the log, else by the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dagster_project.accounting.problems import damage
from dagster_project.ledger.ledger import Ledger
from dagster_project.topics.batches import Kind
from dagster_project.topics.offsets import Offsets


@dataclass(frozen=True, kw_only=True)
class Gaps:
    """Offsets below the cursor without a row in Bronze, in sets that share no offset.

    Attributes:
        unproven: gone from the broker before anybody asked what they were.
        missing: messages that the broker still has.
        unexplained: neither a message nor a gap, by all that is known: rows that Bronze had and has no longer.
        foreign: not gaps but rows of Bronze, at offsets where the broker has no committed message.
    """

    control: Offsets
    aborted: Offsets
    compacted: Offsets
    lost: Offsets
    unproven: Offsets
    missing: Offsets
    unexplained: Offsets
    foreign: Offsets

    def problems(self) -> list[str]:
        return [
            *damage(self.missing, "on the broker, but not in Bronze"),
            *damage(self.unexplained, "neither in Bronze nor known as gaps"),
            *damage(self.foreign, "in Bronze, but on the broker they are no committed message"),
        ]


def gaps(bronze: Offsets, *, window: Offsets, log: Mapping[Kind, Offsets], ledger: Ledger, covered: Offsets) -> Gaps:
    """Sort the gaps of a window.

    Args:
        bronze: offsets with a row in Bronze, now or before its retention.
        window: from the first offset that was ever to be read up to the cursor.
        log: what the broker says of the part of the window that it still has; empty without a broker.
        covered: where the ledger has every gap.
    """
    left = window - bronze
    none = Offsets()
    lost, left = left & ledger.offsets("lost"), left - ledger.offsets("lost")
    missing, left = left & log.get("data", none), left - log.get("data", none)
    controls = ledger.offsets("control") | log.get("control", none)
    control, left = left & controls, left - controls
    aborts = ledger.offsets("aborted") | log.get("aborted", none)
    aborted, left = left & aborts, left - aborts
    # What was compacted after it was read is in Bronze: where the ledger has every gap, only its word counts.
    compactions = ledger.offsets("compacted") | (log.get("compacted", none) - covered)
    compacted, left = left & compactions, left - compactions
    unseen = ledger.offsets("unseen") | (left - covered - Offsets.union(*log.values()))
    return Gaps(
        control=control,
        aborted=aborted,
        compacted=compacted,
        lost=lost,
        unproven=left & unseen,
        missing=missing,
        unexplained=left - unseen,
        foreign=bronze & (log.get("control", none) | log.get("aborted", none)),
    )
