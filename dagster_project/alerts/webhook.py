"""HTTP as a sink: JSON of the platform's own, signed where a secret is given, or as Slack has it."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dagster_project.alerts.message import Message
from dagster_project.alerts.sink import TIMEOUT_S
from dagster_project.errors import SinkError

SIGNATURE = "X-Lakehouse-Signature"
# Of Slack's blocks: a header may have 150 characters, a field's text 2,000.
_HEADER, _FIELD = 150, 2000
# Of an answer that refuses, for people.
_ANSWER = 200


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Posts each notification as one JSON document.

    Attributes:
        secret: signs the body, so that the receiver knows who sent it: `X-Lakehouse-Signature: sha256=<HMAC in hex>`.
    """

    url: str = field(repr=False)  # as below
    secret: str = field(default="", repr=False)

    def send(self, message: Message) -> None:
        alert = asdict(message.alert)
        body = json.dumps({"key": message.key, "title": message.title, **message.facts, "alert": alert}, default=_text)
        content = body.encode()
        signed = {}
        if self.secret:
            digest = hmac.new(self.secret.encode(), content, hashlib.sha256).hexdigest()
            signed = {SIGNATURE: f"sha256={digest}"}
        _post(self.url, content, {"Idempotency-Key": message.key, **signed})


@dataclass(frozen=True, kw_only=True)
class Slack:
    """Posts each notification as Slack's incoming webhooks take it, and what speaks their format."""

    url: str = field(repr=False)  # who knows it may post

    def send(self, message: Message) -> None:
        # As text there is no mark-up, so nothing that is wrong can ping everybody by its name.
        facts = [
            {"type": "section", "text": {"type": "plain_text", "text": f"{name}: {value}"[:_FIELD]}}
            for name, value in message.facts.items()
        ]
        header = {"type": "header", "text": {"type": "plain_text", "text": message.title[:_HEADER]}}
        content = json.dumps({"text": message.title, "blocks": [header, *facts]}).encode()
        _post(self.url, content, {"Idempotency-Key": message.key})


# But for redirects, which urllib follows by a GET without the body, and takes their answer for a success.
_OPENER = urllib.request.OpenerDirector()
for _handler in (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPErrorProcessor,
):
    _OPENER.add_handler(_handler())


def _post(url: str, content: bytes, headers: Mapping[str, str]) -> None:
    request = urllib.request.Request(  # noqa: S310 the configuration takes nothing but http and https
        url, content, {"Content-Type": "application/json", "User-Agent": "lakehouse", **headers}
    )
    try:
        with _OPENER.open(request, timeout=TIMEOUT_S) as answer:
            answer.read(_ANSWER)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(_ANSWER + len(url)).decode(errors="replace").strip()
        told = _without(url, f"{error.reason}: {said}")[:_ANSWER]
        refused = SinkError(f"it answers {error.code} {told}".rstrip(": "))
    except (OSError, ValueError, http.client.HTTPException) as error:
        refused = SinkError(f"it does not answer: {_without(url, str(error))}")
    else:
        return
    # Outside of the handlers: what they caught names the address.
    raise refused


def _without(url: str, text: str) -> str:
    """What was said, without the address: whoever knows that may post, and a page that is not there names it."""
    parts = urlsplit(url)
    for secret in (url, f"{parts.path}?{parts.query}", parts.path, parts.query):
        if len(secret) > 1:
            text = text.replace(secret, "…").replace(repr(secret)[1:-1], "…")
    return text


def _text(value: Any) -> str:
    return str(value.isoformat())
