"""Where notifications go: one method, and one module for each kind of it."""

from __future__ import annotations

from typing import Protocol

from dagster_project.alerts.message import Message

# For one answer. A tick tells all sinks side by side, and has 60 s for all it does.
TIMEOUT_S = 5.0


class Sink(Protocol):
    """Takes notifications."""

    def send(self, message: Message) -> None:
        """Hand a message over; it may come again with the same key.

        Raises:
            SinkError: it was not taken, or nobody knows.
        """
        ...
