"""The log as a sink: one structured line for each notification."""

from __future__ import annotations

import structlog

from dagster_project.alerts.message import Message

_LOGGER = structlog.get_logger("lakehouse.alerts")


class Log:
    """Writes to the log of the process that looks; the default, and never away."""

    def send(self, message: Message) -> None:
        alert = message.alert
        write = (
            _LOGGER.info if not alert.is_open else _LOGGER.error if alert.severity == "critical" else _LOGGER.warning
        )
        write(
            "alert",
            alert=alert.alert,
            scope=alert.scope,
            state=alert.state,
            severity=alert.severity,
            key=message.key,
            **{name.replace(" ", "_"): value for name, value in message.facts.items()},
        )
