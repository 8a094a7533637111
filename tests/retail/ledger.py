"""The postings of the ledger in pandas."""

# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd

NOTHING = Decimal(0)
KEPT = [
    "event_date",
    "region",
    "currency",
    "kind",
    "payment_id",
    "sequence",
    "order_id",
    "kafka_partition",
    "kafka_offset",
]


def postings(payments: pd.DataFrame) -> pd.DataFrame:
    """Two lines for each event of a payment: what it debits, and what it credits."""
    found: list[dict[str, Any]] = []
    for event in payments.to_dict("records"):
        debited, credited = accounts(event["kind"], event["currency"], event["region"])
        transaction = f"{event['payment_id']}|{event['sequence']}"
        of_event = {name: event[name] for name in KEPT}
        of_event |= {
            "transaction_id": transaction,
            "posted_at": event["event_time"],
            # A payment has one capture, its first event; all others take back of it.
            "reverses": None if event["kind"] == "capture" else f"{event['payment_id']}|1",
        }
        sides = ((1, debited, event["amount"], NOTHING), (2, credited, NOTHING, event["amount"]))
        found += [
            {
                **of_event,
                "posting_id": f"{transaction}|{line}",
                "line": line,
                "account": account,
                "debit": debit,
                "credit": credit,
            }
            for line, account, debit, credit in sides
        ]
    return pd.DataFrame(found).sort_values("posting_id").reset_index(drop=True)


def accounts(kind: str, currency: str, region: str) -> tuple[str, str]:
    """Which account an event debits, and which it credits."""
    cash = f"cash:{currency}"
    if kind == "capture":
        return cash, f"revenue:{region}"
    return f"{'revenue' if kind == 'refund' else 'chargebacks'}:{region}", cash
