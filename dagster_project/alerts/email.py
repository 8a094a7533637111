"""E-mail as a sink."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal

import structlog

from dagster_project.alerts.message import Message
from dagster_project.alerts.sink import TIMEOUT_S
from dagster_project.errors import SinkError

# starttls: begins in the clear, as on port 587. tls: from the first byte, as on port 465. none: only within a machine or network.
_LOGGER = structlog.get_logger("lakehouse.alerts")
Security = Literal["starttls", "tls", "none"]


@dataclass(frozen=True, kw_only=True)
class Email:
    """Sends each notification as a plain message; those of one alert are one conversation."""

    host: str
    port: int
    security: Security
    sender: str
    to: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)

    def send(self, message: Message) -> None:
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = message.title, self.sender, ", ".join(self.to)
        mail["Message-ID"], thread = f"<{message.key}@lakehouse>", f"<{message.thread}@lakehouse>"
        mail["References"] = mail["In-Reply-To"] = thread
        mail["Auto-Submitted"] = "auto-generated"  # nobody's holiday answers it
        mail.set_content(message.text)
        try:
            with self._connected() as server:
                if self.user:
                    server.login(self.user, self.password)
                refused = server.send_message(mail)
        except (smtplib.SMTPException, OSError) as error:
            raise SinkError(f"{self.host}:{self.port} does not take it: {error}") from error
        # Somebody has it; trying again would only send it to them once more.
        for address in refused:
            _LOGGER.warning("mail refused", to=address, key=message.key)

    def _connected(self) -> smtplib.SMTP:
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        if self.security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server
