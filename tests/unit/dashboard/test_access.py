"""Who may see the page, and what each answer tells a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dagster_project.dashboard.access import COOKIE, SESSION_S, Access
from dagster_project.dashboard.app import application
from dagster_project.dashboard.board import Board
from dagster_project.dashboard.pages import document
from dagster_project.errors import ConfigurationError

TOKEN = "a-token-that-nobody-can-guess"
PAGES = ("/", "/login", "/static/page.css", "/static/nothing", "/api/snapshot", "/nowhere")


class Still:
    """Sections that stay as they are."""

    def start(self) -> None: ...
    def wake(self) -> None: ...
    def stop(self) -> None: ...
    def sections(self) -> Mapping[str, bytes]:
        return {"about": b'{"project":"test"}'}


def client(access: Access, *, base: str = "http://127.0.0.1:8080") -> TestClient:
    app = application(Still(), access=access, board=Board(), every_s=0.05)
    return TestClient(app, base_url=base, follow_redirects=False)


@pytest.fixture
def local() -> Iterator[TestClient]:
    with client(Access(host="127.0.0.1")) as found:
        yield found


@pytest.fixture
def shared() -> Iterator[TestClient]:
    with client(Access(host="0.0.0.0", behind_tls=True, token=TOKEN), base="https://192.0.2.7:8080") as found:
        yield found


def test_here_nobody_needs_a_token(local: TestClient) -> None:
    assert local.get("/").status_code == 200
    assert local.get("/api/snapshot").json()["sections"] == {"about": {"project": "test"}}


@pytest.mark.parametrize("path", PAGES)
def test_each_answer_says_what_a_browser_may_do(path: str, local: TestClient) -> None:
    headers = local.get(path).headers
    policy: dict[str, str] = {}
    for directive in headers["content-security-policy"].split(";"):
        name, sources = directive.split(maxsplit=1)
        policy[name] = sources
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "img-src", "connect-src", "form-action")} == {"'self'"}
    assert (policy["frame-ancestors"], policy["base-uri"]) == ("'none'", "'none'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_figures_are_kept_by_no_cache(local: TestClient) -> None:
    assert local.get("/api/snapshot").headers["cache-control"] == "no-store"
    assert local.get("/").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "192.0.2.7", "localhost.evil.example", ""])
def test_a_foreign_name_is_turned_away(host: str, local: TestClient) -> None:
    answer = local.get("/api/snapshot", headers={"host": host})
    assert (answer.status_code, "project" in answer.text) == (421, False)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_the_own_names_are_known(host: str, local: TestClient) -> None:
    assert local.get("/api/snapshot", headers={"host": host}).status_code == 200


def test_elsewhere_there_must_be_a_token() -> None:
    with pytest.raises(ConfigurationError, match="there is no token"):
        Access(host="0.0.0.0", behind_tls=True)
    with pytest.raises(ConfigurationError, match="without TLS"):
        Access(host="0.0.0.0", token=TOKEN)
    with pytest.raises(ConfigurationError, match="has 5 characters"):
        Access(host="127.0.0.1", token="short")
    assert TOKEN not in repr(Access(host="0.0.0.0", behind_tls=True, token=TOKEN))


def test_strangers_see_nothing_but_the_login(shared: TestClient) -> None:
    for path in ("/api/snapshot", "/api/events", "/api/other"):
        answer = shared.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert "project" not in answer.text
    assert shared.get("/").headers["location"] == "/login"
    assert shared.get("/docs/runbooks/lag.md").headers["location"] == "/login"
    assert shared.get("/login").status_code == 200
    assert shared.get("/static/page.css").status_code == 200


def test_a_bearer_gets_in_with_the_token_alone(shared: TestClient) -> None:
    def status(header: str) -> int:
        return shared.get("/api/snapshot", headers={"authorization": header}).status_code

    assert status(f"Bearer {TOKEN}") == status(f"bearer  {TOKEN} ") == 200
    for wrong in (TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer ", "Bearer ä"):
        assert shared.get("/api/snapshot", headers={b"authorization": wrong.encode()}).status_code == 401


def test_a_login_gives_a_cookie_that_scripts_and_other_sites_do_not_get(shared: TestClient) -> None:
    refused = shared.post("/login", data={"token": "wrong"})
    assert (refused.headers["location"], "set-cookie" in refused.headers) == ("/login#refused", False)
    admitted = shared.post("/login", data={"token": TOKEN})
    cookie = admitted.headers["set-cookie"]
    assert admitted.headers["location"] == "/"
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", f"Max-Age={SESSION_S}", "Path=/"))
    assert TOKEN not in cookie
    assert shared.get("/api/snapshot").status_code == 200
    shared.post("/logout")
    assert shared.get("/api/snapshot").status_code == 401


def test_over_https_the_cookie_stays_there() -> None:
    with client(
        Access(host="0.0.0.0", behind_tls=True, token=TOKEN, names=("lake.example",)), base="https://lake.example"
    ) as found:
        assert "Secure" in found.post("/login", data={"token": TOKEN}).headers["set-cookie"]


def test_a_form_of_another_site_logs_nobody_in(shared: TestClient) -> None:
    answer = shared.post("/login", data={"token": TOKEN}, headers={"sec-fetch-site": "cross-site"})
    assert (answer.headers["location"], "set-cookie" in answer.headers) == ("/login#refused", False)


def test_a_form_that_is_too_long_is_not_read(shared: TestClient) -> None:
    assert shared.post("/login", data={"token": "x" * 10_000}).status_code == 413


def test_a_cookie_ends_and_is_of_one_token() -> None:
    access, now = Access(host="0.0.0.0", behind_tls=True, token=TOKEN), time.time()
    session = access.session(now=now)
    assert access.is_session(session, now=now + SESSION_S - 1)
    assert not access.is_session(session, now=now + SESSION_S + 1)
    assert not Access(host="0.0.0.0", behind_tls=True, token=f"another-{TOKEN}").is_session(session, now=now)
    until, _, signature = session.partition(".")
    for forged in (f"{int(until) + 1}.{signature}", f"{until}.", "", ".", f"{until}.ä"):
        assert not access.is_session(forged, now=now)
    assert not Access(host="127.0.0.1").is_session(session, now=now)


def test_a_name_that_was_given_is_known_and_an_address_is_as_good(shared: TestClient) -> None:
    named = Access(host="0.0.0.0", behind_tls=True, token=TOKEN, names=("lake.example",))
    assert named.knows("lake.example:3001")
    assert named.knows("192.0.2.7")
    assert not named.knows("evil.example")
    assert shared.get("/login", headers={"host": "evil.example"}).status_code == 421


def test_an_old_cookie_of_another_name_is_nothing(shared: TestClient) -> None:
    shared.cookies.set(COOKIE, TOKEN)
    assert shared.get("/api/snapshot").status_code == 401


def test_runbooks_are_pages_and_nothing_else_of_the_project_is(local: TestClient) -> None:
    answer = local.get("/docs/runbooks/stuck-run.md")
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>" in answer.text
    for path in ("../pyproject.toml", "..%2f..%2fpyproject.toml", "screenshots.py", "nothing.md", "", "/etc/passwd"):
        assert local.get(f"/docs/{path}").status_code == 404


def test_a_document_runs_no_script(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A & <b>\n\n<script>alert(1)</script> [here](javascript:alert(1)) [there](b.md)\n")
    text = bytes(document("a.md", folder=tmp_path).body).decode()
    assert "<script" not in text
    assert 'href="javascript' not in text
    assert '<a href="b.md">there</a>' in text
    assert "<title>A &amp; &lt;b&gt;</title>" in text
