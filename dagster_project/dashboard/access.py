"""Who may see the page, and what a browser may do with it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Iterable
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dagster_project.services.exposed import LOOPBACK_NAMES, Exposed

COOKIE = "lakehouse-page"
# A shift: who is on call logs in once.
SESSION_S = 12 * 3600
# What a login page needs; nothing in them tells anything of the lake.
_OPEN_PATHS = ("/login", "/static/")
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # for what is too old to know frame-ancestors
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), interest-cohort=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, kw_only=True)
class Access(Exposed):
    """Where the page is served, and to whom.

    Attributes:
        names: under which it may be reached, beside those of the loopback interface and addresses without a name.
    """

    what: str = "the page"
    variable: str = "LAKEHOUSE_DASHBOARD_TOKEN"
    names: tuple[str, ...] = ()

    def knows(self, host: str) -> bool:
        """Whether a `Host` header names this server: any other is a foreign name that was pointed at it.

        An address cannot be pointed anywhere, so it is as good as a name; but what listens on this machine alone is reached
        from here alone.
        """
        name = _name_of(host)
        if name in {*LOOPBACK_NAMES, self.host, *self.names}:
            return True
        return not self.is_local and _is_address(name)

    def session(self, *, now: float) -> str:
        """What a logged-in browser shows instead of the token: worth nothing after some hours, or with another token."""
        until = str(int(now + SESSION_S))
        return f"{until}.{self._signature(until)}"

    def is_session(self, text: str, *, now: float) -> bool:
        until, _, signature = text.partition(".")
        genuine = hmac.compare_digest(signature.encode(), self._signature(until).encode())
        return bool(self.token) and genuine and until.isdecimal() and now < int(until)

    def _signature(self, until: str) -> str:
        digest = hmac.digest(self.token.encode(), f"{COOKIE}:{until}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def admits(self, connection: HTTPConnection) -> bool:
        """Whether a request may see what only viewers may."""
        if not self.token:
            return True
        if self.is_bearer(connection.headers.get("authorization", "")):
            return True
        return self.is_session(connection.cookies.get(COOKIE, ""), now=time.time())


class Guard:
    """Before all else: foreign names and strangers are turned away, and each answer says what a browser may do."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, sealed)

    def _refusal(self, scope: Scope) -> Response | None:
        host = Headers(scope=scope).get("host", "")
        if not self._access.knows(host):
            return PlainTextResponse("this server does not have that name\n", status_code=421)
        path: str = scope["path"]
        if path.startswith(_OPEN_PATHS) or self._access.admits(HTTPConnection(scope)):
            return None
        if path.startswith("/api/"):
            refused = {"error": "a token is needed: Authorization: Bearer <token>, or log in"}
            return JSONResponse(refused, status_code=401, headers={"www-authenticate": "Bearer"})
        return RedirectResponse("/login", status_code=303)


def own_site(headers: Headers) -> bool:
    """Whether a form was sent from a page of this server, as far as the browser says."""
    return headers.get("sec-fetch-site", "same-origin") in {"same-origin", "none"}


def _name_of(host: str) -> str:
    """A `Host` header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def named(hosts: Iterable[str]) -> tuple[str, ...]:
    """Names as `Host` headers have them."""
    return tuple(host.lower().rstrip(".") for host in hosts)
