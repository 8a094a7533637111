"""Every variable, from the environment or a secret file; none of its secrets in anything that is shown."""

from __future__ import annotations

import json
import os
import re
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from dagster_project.alerts.config import load
from dagster_project.alerts.webhook import Slack
from dagster_project.errors import ConfigurationError
from dagster_project.settings import Settings, pseudonym_keys
from dagster_project.variables.files import publish, with_secret_files
from dagster_project.variables.redact import without_secret
from dagster_project.variables.variables import NAMES, Url, Variables, is_secret

CANARY = "c4nary/with?odd#signs"
SECRETS = {
    "KAFKA_SASL_PASSWORD": CANARY,
    "SCHEMA_REGISTRY_URL": f"https://me:{CANARY}@registry.test/v7",
    "REDIS_URL": f"rediss://me:{CANARY}@cache.test:6379/0?password={CANARY}",
    "LAKEHOUSE_PSEUDONYM_KEYS": CANARY,
    "LAKEHOUSE_DASHBOARD_TOKEN": CANARY,
    "LAKEHOUSE_METRICS_TOKEN": CANARY,
    "DAGSTER_POSTGRES_URL": f"postgresql://me:{CANARY}@db.test/dagster?sslmode=verify-full",
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "AWS_SESSION_TOKEN": CANARY,
    "AWS_ENDPOINT_URL": f"https://me:{CANARY}@store.test",
    "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://me:{CANARY}@spans.test",
    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={CANARY}",
}
PRODUCTION = {
    "LAKEHOUSE_PROFILE": "production",
    "KAFKA_BOOTSTRAP_SERVERS": "k:9092",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_USERNAME": "lakehouse",
    "KAFKA_SASL_PASSWORD": "p",
    "LAKEHOUSE_URI": "s3://lake/prod",
    "DAGSTER_POSTGRES_URL": "postgresql://d:p@db/dagster?sslmode=verify-full",
    "LAKEHOUSE_COMPUTE_LOGS": "s3://logs/prod",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir()
    return made


def written(folder: Path, values: Mapping[str, str]) -> dict[str, str]:
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n", encoding="utf-8")
    return {"LAKEHOUSE_SECRETS": str(folder)}


def test_the_environment_goes_before_files_and_files_before_defaults(folder: Path) -> None:
    environment = written(folder, {"KAFKA_SASL_USERNAME": "file", "AWS_REGION": "file", "REDIS_URL": ""})
    variables = Variables.read({**environment, "KAFKA_SASL_USERNAME": "said", "AWS_REGION": ""})
    assert (variables.kafka_sasl_username, variables.aws_region) == ("said", "file")
    origins = {name: variables.origin(name) for name in ("kafka_sasl_username", "aws_region", "redis_url")}
    assert origins == {"kafka_sasl_username": "environment", "aws_region": "file", "redis_url": "default"}


def test_a_folder_as_kubernetes_mounts_it(folder: Path) -> None:
    """Each file is a link into a folder of this version, which is a link, too."""
    (folder / "..2026").mkdir()
    (folder / "..data").symlink_to("..2026")
    (folder / "..2026" / "KAFKA_SASL_PASSWORD").write_text("mounted", encoding="utf-8")
    (folder / "KAFKA_SASL_PASSWORD").symlink_to("..data/KAFKA_SASL_PASSWORD")
    assert Variables.read({"LAKEHOUSE_SECRETS": str(folder)}).kafka_sasl_password == SecretStr("mounted")
    assert with_secret_files({"LAKEHOUSE_SECRETS": str(folder)})["KAFKA_SASL_PASSWORD"] == "mounted"


def test_types() -> None:
    variables = Variables.read({
        "LAKEHOUSE_KAFKA_PORT": "9092",
        "LAKEHOUSE_ALLOW_PLAINTEXT": "redis, store",
        "LAKEHOUSE_HOME": "~/here",
        "REDIS_URL": "redis://cache",
    })  # fmt: skip
    assert variables.lakehouse_kafka_port == 9092
    assert variables.lakehouse_allow_plaintext == {"redis", "store"}
    assert variables.lakehouse_home == Path.home() / "here"
    assert variables.redis_url.get_secret_value() == "redis://cache"


def test_every_secret_has_a_canary() -> None:
    assert {name for name in NAMES if is_secret(name)} == set(SECRETS)


@pytest.mark.parametrize("from_files", [False, True])
def test_no_secret_is_shown(folder: Path, from_files: bool) -> None:
    variables = Variables.read(written(folder, SECRETS) if from_files else SECRETS)
    assert variables.redis_url.get_secret_value() == SECRETS["REDIS_URL"]  # they are there
    shown = f"{variables!r} {variables} {variables.model_dump()} {variables.model_dump_json()}"
    assert "c4nary" not in shown
    assert "registry.test/v7" in shown
    environment = {"LAKEHOUSE_SECRETS": str(folder)} if from_files else SECRETS
    said = {**PRODUCTION, "KAFKA_SASL_PASSWORD": "", "LAKEHOUSE_ALLOW_PLAINTEXT": "postgres", **environment}
    settings = Settings.from_environment(said)
    assert settings.bootstrap_servers == "k:9092"
    assert "c4nary" not in f"{settings!r} {settings}"


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_no_refusal_shows_a_secret(name: str, folder: Path) -> None:
    """Neither its message nor its traceback nor what it came from."""
    made = {**SECRETS, name: f"gopher://me:{CANARY}@x", "LAKEHOUSE_PROFILE": "unknown"}
    for environment in (made, {**written(folder, made), "LAKEHOUSE_PROFILE": "unknown"}):
        with pytest.raises(ConfigurationError) as refused:
            Variables.read(environment)
        told = "".join(traceback.format_exception(refused.value))
        assert "c4nary" not in told
        assert "LAKEHOUSE_PROFILE" in told
        assert refused.value.__context__ is None


def test_a_file_that_is_no_text(folder: Path) -> None:
    (folder / "KAFKA_SASL_PASSWORD").write_bytes(b"c4nary\xff")
    for read in (Variables.read, with_secret_files):
        with pytest.raises(ConfigurationError, match="not text") as refused:
            read({"LAKEHOUSE_SECRETS": str(folder)})
        assert "c4nary" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("LAKEHOUSE_PROFILE", "prod", "'local' or 'production'"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS", "'SASL_SSL'"),
        ("KAFKA_SSL_CA_LOCATION", "/nowhere/ca.pem", "a file that is there"),
        ("LAKEHOUSE_COMPUTE_LOGS", "/logs", "s3://bucket/prefix"),
        ("LAKEHOUSE_ALLOW_PLAINTEXT", "kafka,everything", "'kafka', 'redis'"),
        ("LAKEHOUSE_SECRETS", "/nowhere", "a folder"),
    ],
)
def test_values_that_make_no_sense(name: str, value: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Variables.read({name: value})
    assert refused.value.found == f"{name}={value}"
    assert expected in refused.value.expected
    assert name in refused.value.remedy


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://cache:6379/0", "redis://cache:6379/0"),
        ("redis://:p@cache:6379/0", "redis://cache:6379/0"),
        ("redis://u:p/a?s@s@cache/0", "redis://cache/0"),
        ("redis://cache/0?password=p", "redis://cache/0"),
        ("postgresql://u:p@h/d?sslmode=require&password=p@ss", "postgresql://ss"),
        ("u:p@h", "h"),
        ("", ""),
    ],
)
def test_urls_as_they_are_shown(url: str, shown: str) -> None:
    assert without_secret(url) == str(Url(url)) == shown


def test_production_requires_what_it_needs() -> None:
    assert Settings.from_environment(PRODUCTION).profile == "production"
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "LAKEHOUSE_URI", "DAGSTER_POSTGRES_URL", "LAKEHOUSE_COMPUTE_LOGS"):
        with pytest.raises(ConfigurationError, match=f"{name} is not set"):
            Settings.from_environment({**PRODUCTION, name: ""})
    with pytest.raises(ConfigurationError, match="not set to a place on S3"):
        Settings.from_environment({**PRODUCTION, "LAKEHOUSE_URI": "/data/lake"})


@pytest.mark.parametrize(
    ("connection", "name", "value"),
    [
        ("kafka", "KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("redis", "REDIS_URL", "redis://cache"),
        ("registry", "SCHEMA_REGISTRY_URL", "http://registry"),
        ("store", "AWS_ENDPOINT_URL", "http://store"),
        ("postgres", "DAGSTER_POSTGRES_URL", "postgresql://d:p@db/dagster"),
        ("postgres", "DAGSTER_POSTGRES_URL", "postgresql://d:p@db/dagster?sslmode=prefer"),
    ],
)
def test_production_wants_tls_unless_told_otherwise(connection: str, name: str, value: str) -> None:
    plain = {**PRODUCTION, name: value}
    with pytest.raises(ConfigurationError, match=f"{name} lets data") as refused:
        Settings.from_environment(plain)
    assert f"{connection} in LAKEHOUSE_ALLOW_PLAINTEXT" in refused.value.remedy
    assert Settings.from_environment({**plain, "LAKEHOUSE_ALLOW_PLAINTEXT": connection}).profile == "production"
    assert Settings.from_environment({**plain, "LAKEHOUSE_PROFILE": "local"}).profile == "local"


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD is not set"),
        ({"KAFKA_SASL_USERNAME": ""}, "KAFKA_SASL_USERNAME is not set"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL"}, "with which nobody logs in"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "", "LAKEHOUSE_PROFILE": "local"}, "KAFKA_BOOTSTRAP_SERVERS is not set"),
    ],
)
def test_kafkas_variables_go_together(changes: dict[str, str], found: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(found)):
        Settings.from_environment({**PRODUCTION, **changes})


def test_several_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({"LAKEHOUSE_PROFILE": "production"})
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "LAKEHOUSE_URI", "DAGSTER_POSTGRES_URL", "KAFKA_SECURITY_PROTOCOL"):
        assert name in str(refused.value)


def test_commands_that_start_services_are_of_the_local_profile() -> None:
    Settings.from_environment({}).starts_services("up")
    with pytest.raises(ConfigurationError, match="`lakehouse up` starts services on this machine"):
        Settings.from_environment(PRODUCTION).starts_services("up")


def test_keys_for_local_use_are_of_the_local_profile(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "pseudonym.keys").write_text("local:key\n", encoding="utf-8")
    home = {"LAKEHOUSE_HOME": str(tmp_path)}
    assert pseudonym_keys(home) == "local:key"
    assert pseudonym_keys({**home, **PRODUCTION}) == ""


def test_what_libraries_read_by_themselves(folder: Path) -> None:
    files = {"AWS_SECRET_ACCESS_KEY": "file", "AWS_REGION": "file", "KAFKA_SASL_PASSWORD": "file"}
    environment = {**written(folder, files), "AWS_REGION": "said"}
    before = dict(environment)
    publish(environment)
    assert environment == {**before, "AWS_SECRET_ACCESS_KEY": "file"}
    publish(environment)
    assert environment == {**before, "AWS_SECRET_ACCESS_KEY": "file"}


def test_a_process_with_settings_has_told_its_libraries(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in written(folder, {"AWS_SESSION_TOKEN": "file"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "")  # so that it is put back
    Settings.from_environment(dict(os.environ))
    assert not os.environ["AWS_SESSION_TOKEN"]
    Settings.from_environment()
    assert os.environ["AWS_SESSION_TOKEN"] == "file"


def test_what_alerts_name_may_be_a_secret_file(tmp_path: Path, folder: Path) -> None:
    alerts = {"sinks": {"team": {"type": "slack", "urlFrom": "TEAM_URL"}}}
    (tmp_path / "alerts.yaml").write_text(json.dumps(alerts), encoding="utf-8")
    sink = load(tmp_path, written(folder, {"TEAM_URL": "https://hooks.test/x"})).sinks["team"]
    assert sink == Slack(url="https://hooks.test/x")
