"""What a person is sent, over real connections."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from dagster_project.alerts.alert import Alert
from dagster_project.alerts.config import load
from dagster_project.alerts.email import Email
from dagster_project.alerts.kinds import KINDS
from dagster_project.alerts.log import Log
from dagster_project.alerts.message import message
from dagster_project.alerts.webhook import Slack, Webhook
from dagster_project.cli.main import app
from dagster_project.errors import ConfigurationError, SinkError
from tests.unit.alerts.platform import START
from tests.unit.alerts.receivers import Mail, Web, mail, web

ALERT = Alert(
    alert="broker-down",
    scope="",
    state="new",
    severity="critical",
    at=START + dt.timedelta(seconds=95),
    since=START,
    told_at=START + dt.timedelta(seconds=95),
    summary="Kafka does not answer: <!channel> no answer within 2 s",
    command="lakehouse status",
    correlation_id="c-1",
    folded=tuple(f"lag dataset{number:02}" for number in range(12)),
    sequence=7,
)
SHOWN = (
    "Kafka does not answer: <!channel> no answer within 2 s",
    "2026-11-23 03:00:00 UTC, for 0:01:35",
    KINDS["broker-down"].meaning,
    "lakehouse status",
    "https://wiki.example.org/runbooks/broker-down.md",
    "lag dataset09, and 2 more",
    "c-1",
)
MESSAGE = message(ALERT, runbooks="https://wiki.example.org/runbooks/")


@pytest.fixture
def receiver() -> Iterator[Web]:
    with web() as found:
        yield found


@pytest.fixture
def postbox() -> Iterator[Mail]:
    with mail() as found:
        yield found


def test_a_message_says_all_that_a_person_needs() -> None:
    assert MESSAGE.title == "FIRING (critical): broker-down"
    for text in SHOWN:
        assert text in MESSAGE.text
    over = message(replace(ALERT, state="resolved", at=START + dt.timedelta(hours=1)))
    assert over.title == "RESOLVED (critical): broker-down"
    assert over.facts["over at"] == "2026-11-23 04:00:00 UTC"
    assert over.facts["runbook"] == "docs/runbooks/broker-down.md"
    assert over.thread == MESSAGE.thread
    assert over.key != MESSAGE.key
    assert message(replace(ALERT, sequence=8)).key == MESSAGE.key  # renumbered, it is the same


def test_a_webhook_gets_signed_json(receiver: Web) -> None:
    Webhook(url=receiver.url, secret="shared").send(MESSAGE)
    ((path, headers, body),) = receiver.got
    assert path == "/hook"
    assert headers["X-Lakehouse-Signature"] == f"sha256={hmac.new(b'shared', body, hashlib.sha256).hexdigest()}"
    assert headers["Idempotency-Key"] == MESSAGE.key
    assert headers["Content-Type"] == "application/json"
    found = json.loads(body)
    assert found["key"] == MESSAGE.key
    assert {found[name] for name in MESSAGE.facts} == set(MESSAGE.facts.values())
    assert found["alert"]["folded"] == list(ALERT.folded)
    assert dt.datetime.fromisoformat(found["alert"]["since"]) == START
    Webhook(url=receiver.url).send(MESSAGE)
    assert "X-Lakehouse-Signature" not in receiver.got[1][1]


def test_slack_gets_blocks_in_which_nothing_is_mark_up(receiver: Web) -> None:
    Slack(url=receiver.url).send(message(replace(ALERT, summary="x" * 5000)))
    ((_, _, body),) = receiver.got
    found = json.loads(body)
    assert found["text"] == "FIRING (critical): broker-down"
    header, *facts = found["blocks"]
    assert header["type"] == "header"
    assert {block["text"]["type"] for block in found["blocks"]} == {"plain_text"}
    assert all(len(block["text"]["text"]) <= 2000 for block in facts)
    assert len(facts) == len(MESSAGE.facts)


@pytest.mark.parametrize("status", [301, 307, 400, 404, 500])
def test_what_the_web_does_not_take_is_an_error_that_says_what_it_said(receiver: Web, status: int) -> None:
    receiver.status = status
    with pytest.raises(SinkError, match=f"it answers {status}") as caught:
        Webhook(url=receiver.url).send(MESSAGE)
    assert (": no such channel" in str(caught.value)) == (status >= 400)
    assert len(receiver.got) == 1  # no redirect was followed


def test_nobody_there_is_an_error() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SinkError, match="does not answer"):
        Webhook(url=f"http://127.0.0.1:{port}/").send(MESSAGE)
    with pytest.raises(SinkError, match="does not take it"):
        Email(host="127.0.0.1", port=port, security="none", sender="a@b", to=("c@d",)).send(MESSAGE)


def test_who_answers_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_project.alerts.webhook.TIMEOUT_S", 0.1)
    monkeypatch.setattr("dagster_project.alerts.email.TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        with pytest.raises(SinkError):
            Webhook(url=f"http://127.0.0.1:{port}/").send(MESSAGE)
        with pytest.raises(SinkError):
            Email(host="127.0.0.1", port=port, security="none", sender="a@b", to=("c@d",)).send(MESSAGE)


def test_mail_is_one_conversation_for_each_alert(postbox: Mail) -> None:
    sink = Email(
        host="127.0.0.1",
        port=postbox.port,
        security="none",
        sender="lakehouse@example.org",
        to=("a@example.org", "b@example.org"),
        user="who",
        password="secret",
    )
    sink.send(MESSAGE)
    sink.send(message(replace(ALERT, state="resolved", at=START + dt.timedelta(hours=1))))
    (to, first), (_, second) = postbox.got
    assert to == ["a@example.org", "b@example.org"]
    assert base64.b64decode(postbox.logins[0].removeprefix("PLAIN ")) == b"\0who\0secret"
    assert first["Subject"] == "FIRING (critical): broker-down"
    assert first["Message-ID"] == f"<{MESSAGE.key}@lakehouse>"
    assert first["References"] == second["References"]
    for text in SHOWN:
        assert text in first.get_content()


def test_mail_of_which_some_know_is_taken(postbox: Mail) -> None:
    sink = Email(host="127.0.0.1", port=postbox.port, security="none", sender="l@e.org", to=("a@e.org", "b@e.org"))
    postbox.refuses = {"a@e.org"}
    with capture_logs() as logs:
        sink.send(MESSAGE)
    assert [to for to, _ in postbox.got] == [["b@e.org"]]
    assert logs[0]["to"] == "a@e.org"
    postbox.refuses = {"a@e.org", "b@e.org"}
    with pytest.raises(SinkError, match="nobody of that name"):
        sink.send(MESSAGE)


def test_mail_in_the_clear_is_not_sent_where_it_should_be_protected(postbox: Mail) -> None:
    with pytest.raises(SinkError, match="STARTTLS"):
        Email(host="127.0.0.1", port=postbox.port, security="starttls", sender="a@b", to=("c@d",)).send(MESSAGE)
    assert postbox.got == []


def test_the_log_has_each_fact() -> None:
    with capture_logs() as logs:
        Log().send(MESSAGE)
        Log().send(message(replace(ALERT, state="resolved")))
    assert [line["log_level"] for line in logs] == ["error", "info"]
    assert logs[0]["correlation_id"] == "c-1"
    assert logs[0]["what"] == ALERT.summary


CONFIG = """\
runbooks: https://wiki.example.org/runbooks
sinks:
  log: {type: log}
  tickets: {type: webhook, url: https://tickets.example.org/hook, secretFrom: TICKETS_HMAC}
  oncall: {type: slack, urlFrom: ONCALL_URL}
  mail: {type: email, host: smtp.example.org, from: l@example.org, to: [a@example.org], userFrom: U, passwordFrom: P}
routes:
  - {severity: critical, sinks: [oncall, mail]}
  - {owner: shop, sinks: [tickets]}
  - {sinks: [log]}
"""
VARIABLES = {"TICKETS_HMAC": "k", "ONCALL_URL": "https://hooks.example.org/T0/secret", "U": "who", "P": "pass"}


def test_a_whole_configuration(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(CONFIG)
    config = load(tmp_path, VARIABLES)
    assert config.runbooks == "https://wiki.example.org/runbooks"
    assert config.sinks == {
        "log": config.sinks["log"],
        "tickets": Webhook(url="https://tickets.example.org/hook", secret="k"),
        "oncall": Slack(url=VARIABLES["ONCALL_URL"]),
        "mail": Email(
            host="smtp.example.org",
            port=587,
            security="starttls",
            sender="l@example.org",
            to=("a@example.org",),
            user="who",
            password="pass",
        ),
    }
    assert not any(secret in repr(config) for secret in ("/T0/secret", "'pass'", "'k'"))
    wants = {
        name: (
            config.wants(name, severity="critical", domain="", owners=()),
            config.wants(name, severity="warning", domain="", owners=("x", "shop")),
        )
        for name in config.sinks
    }
    assert wants == {
        "log": (True, True),
        "tickets": (False, True),
        "oncall": (True, False),
        "mail": (True, False),
    }


def test_without_a_file_there_is_the_log(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert list(config.sinks) == ["log"]
    assert config.wants("log", severity="warning", domain="", owners=())


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("sinks:\n", "sinks: []\nothers:\n", 2, "at least one"),
        ("type: slack", "type: pager", 5, "one of log, webhook, slack, email"),
        ("urlFrom: ONCALL_URL", "url: https://hooks.example.org/T0/secret", 5, "'urlFrom' is missing"),
        ("urlFrom: ONCALL_URL", "urlFrom: NOT_SET", 5, "a variable that is set"),
        ("urlFrom: ONCALL_URL", "urlFrom: U", 5, "U holds no URL"),
        ("https://tickets.example.org/hook", "file:///etc/passwd", 4, "an http or https URL"),
        ("https://tickets.example.org/hook", "https://me:pass@tickets.example.org", 4, "without a secret"),
        ("url: https://tickets.example.org/hook, ", "", 4, "url: …, or urlFrom"),
        ("to: [a@example.org]", "to: a@example.org", 6, "a list of e-mail addresses"),
        ("host: smtp.example.org", "host: smtp.example.org, port: 0", 6, "a port"),
        ("host: smtp.example.org", "host: smtp.example.org, security: ssl", 6, "one of starttls, tls, none"),
        ("passwordFrom: P", "password: hunter2", 6, "no such field"),
        ("severity: critical", "severity: page", 8, "warning or critical"),
        ("[oncall, mail]", "[oncall, pager]", 8, "a list of some of log, tickets, oncall, mail"),
        ("{owner: shop, sinks: [tickets]}", "tickets", 9, "severity"),
        ("runbooks: https", "runbooks: gopher", 1, "an http or https URL"),
        ("  log: {type: log}\n", "  log: {type: log}\n  log: {type: log}\n", 4, "the same key again"),
        ("sinks:\n", "sinks: [\n", 4, "not YAML"),
    ],
)
def test_each_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in CONFIG
    (tmp_path / "alerts.yaml").write_text(CONFIG.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, VARIABLES)
    assert f"alerts.yaml:{line}:" in str(caught.value)
    assert said in str(caught.value)
    assert VARIABLES["ONCALL_URL"] not in str(caught.value)


def test_a_sink_is_tried_by_command(receiver: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "alerts.yaml").write_text(f"sinks: {{hook: {{type: webhook, url: '{receiver.url}'}}}}")
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    run = CliRunner()
    assert run.invoke(app, ["alerts", "test", "hook"]).exit_code == 0
    assert "nothing is wrong" in json.loads(receiver.got[0][2])["what"]
    assert run.invoke(app, ["alerts", "test", "hok"]).exit_code == 1
    receiver.status = 403
    refused = run.invoke(app, ["alerts", "test", "hook"])
    assert refused.exit_code == 1
    assert "it answers 403" in refused.stderr
