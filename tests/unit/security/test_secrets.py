"""No secret in what a person, a log or a table is told."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from typer.main import get_command

from dagster_project.alerts.alert import Alert
from dagster_project.alerts.email import Email
from dagster_project.alerts.message import message
from dagster_project.alerts.webhook import Slack, Webhook
from dagster_project.cli.main import app
from dagster_project.errors import CacheError, RegistryError, SinkError
from dagster_project.lake.storage import Storage
from dagster_project.registry.schemas import Registry
from dagster_project.services.ports import LOOPBACK
from dagster_project.serving.cache import Cache
from dagster_project.settings import Settings
from tests.unit.alerts.platform import START

SECRET = "sEcr3t-cAnary"


class _Echo(http.server.BaseHTTPRequestHandler):
    """Refuses as many servers do: with the address that was asked for."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(404)
        self.end_headers()
        self.wfile.write(f"Cannot POST {self.path}".encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the library's name
        """Says nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), _Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{LOOPBACK}:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def everything(error: BaseException | None) -> str:
    """What a log may have of an error: its text, and that of all behind it."""
    texts: list[str] = []
    while error is not None:
        texts += [str(error), repr(error), *map(str, getattr(error, "__notes__", ()))]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(texts)


MESSAGE = message(
    Alert(
        alert="broker-down", scope="", state="new", severity="critical", at=START, since=START, told_at=START, summary="down",
        command="lakehouse status", correlation_id="c-1", folded=(), sequence=1,
    ),
    runbooks="",
)  # fmt: skip


@pytest.mark.parametrize("kind", [Webhook, Slack])
def test_an_address_that_lets_post_is_in_no_error(kind: type[Webhook | Slack], echo: str) -> None:
    for url in (
        f"{echo}/services/{SECRET}",
        f"{echo}/hook?token={SECRET}",
        f"{echo}/services/{SECRET}\n",  # as a file of secrets ends
        f"http://{LOOPBACK}:1/services/{SECRET}",
    ):
        with pytest.raises(SinkError) as raised:
            kind(url=url).send(MESSAGE)
        assert SECRET not in everything(raised.value)
        assert SECRET not in repr(kind(url=url))


def test_secrets_are_in_no_text_of_what_holds_them() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": SECRET}
    held = (
        Storage.at("s3://bucket/lake", keys),
        Webhook(url=f"https://example.org/{SECRET}", secret=SECRET),
        Email(host="h", port=25, security="none", sender="a@b", to=("c@d",), user="u", password=SECRET),
        Settings.from_environment(
            {"REDIS_URL": f"redis://:{SECRET}@cache:6379", "SCHEMA_REGISTRY_URL": f"https://u:{SECRET}@registry"}
        ),
    )
    assert [value for value in held if SECRET in repr(value) or SECRET in str(value)] == []


@pytest.mark.parametrize("password", [SECRET, f"{SECRET}/x", f"a?{SECRET}", f"a#{SECRET}", f"a@{SECRET}"])
def test_a_registry_that_does_not_answer_is_told_of_without_its_password(password: str) -> None:
    with pytest.raises(RegistryError) as raised:
        Registry(f"http://user:{password}@{LOOPBACK}:1").schema(7)
    assert SECRET not in everything(raised.value)


def test_a_cache_whose_address_makes_no_sense_is_told_of_without_its_password() -> None:
    """Of a slash that is not quoted the library takes what stands before it for the port, and says so."""
    cache = Cache(lambda: f"redis://:{SECRET}/x@{LOOPBACK}:1", storage=Storage(uri="/lake"))
    with pytest.raises(CacheError) as raised:
        cache.ask(lambda client: client.ping())
    assert SECRET not in everything(raised.value)


def test_no_command_takes_a_secret_as_an_argument() -> None:
    """Every user of the machine sees the arguments of every process."""

    def options(command: object, path: str = "lakehouse") -> Iterator[str]:
        for parameter in getattr(command, "params", ()):
            yield from (f"{path} {option}" for option in parameter.opts)
        for name, inner in getattr(command, "commands", {}).items():
            yield from options(inner, f"{path} {name}")

    found = list(options(get_command(app)))
    assert len(found) > 50
    words = ("token", "password", "secret", "credential", "apikey", "api-key", "--key-id")
    assert [option for option in found if any(word in option.rpartition(" ")[2].lower() for word in words)] == []
