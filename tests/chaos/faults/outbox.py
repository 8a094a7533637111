"""kill -9 of a run that publishes poison: inside its transaction, after it, and one that wakes after another was done."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.fault import Fault
from tests.chaos.faults.kills import at
from tests.chaos.faults.race import together


def faults() -> Iterator[Fault]:
    # A transaction that a killed publisher leaves open is ended by the next one, who has its id.
    sent, committed = at("outbox.sent"), at("outbox.committed")
    yield Fault(name="kill-outbox-sent", act=sent)
    yield Fault(name="kill-outbox-committed", act=committed)
    yield Fault(name="kill-outbox-sent-under-sensors", act=sent, platform="daemon")
    yield Fault(name="kill-outbox-committed-under-sensors", act=committed, platform="daemon")
    yield Fault(name="kill-outbox-sending", act=at("outbox.sending"))
    yield Fault(name="two-publishers-at-once", act=together(2, "publish", before=("ingest",), refusal="KafkaError"))
