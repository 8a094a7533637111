"""`lakehouse config` against real services that are right, and the same with each of them wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dagster_project.services import cache, daemon
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.lake import environment, free_port, lakehouse, unique

KEYS = "k2:" + "a2V5" * 11 + ",k1:" + "b2xk" * 11
CANARY = "c4nary-c4nary"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "contracts").mkdir(parents=True)
    for name in ("orders", "customers"):  # the second one has columns to be pseudonymised
        shutil.copy(REPOSITORY / "contracts" / f"{name}.odcs.yaml", folder / "contracts")
    return folder


@pytest.fixture
def cache_url(tmp_path: Path) -> Iterator[str]:
    home = tmp_path / "cache"
    settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
    cache.up(settings, report=print)
    yield cache.cache_url(settings)
    if (found := daemon.find(str(home / "services" / "cache" / "valkey.conf"))) is not None:
        daemon.stop([found], patience=0)


def outcomes(printed: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(printed)}


def test_services_that_are_right(broker: str, s3: str, cache_url: str, project: Path, tmp_path: Path) -> None:
    """Those on S3 by what is in secret files alone."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    own = {"LAKEHOUSE_PSEUDONYM_KEYS": KEYS, "REDIS_URL": cache_url, "AWS_SECRET_ACCESS_KEY": "of-a-file"}
    for name, value in own.items():
        (secrets / name).write_text(value)
    more = {
        "LAKEHOUSE_SECRETS": str(secrets),
        "LAKEHOUSE_URI": f"{s3}/{unique('checked')}",
        "LAKEHOUSE_COMPUTE_LOGS": f"{s3}/{unique('logs')}/",
        "AWS_SECRET_ACCESS_KEY": "",
    }
    variables = environment(home=tmp_path / "home", project=project, servers=broker, more=more)

    done = lakehouse(["config", "check", "--json"], variables)

    assert done.returncode == 0, done.stdout + done.stderr
    found = outcomes(done.stdout)
    assert {name for name, one in found.items() if one["state"] == "not configured"} == {
        "schema registry", "postgres", "prices",
    }  # fmt: skip
    assert all(one["state"] == "ok" for one in found.values() if one["state"] != "not configured")
    assert broker in found["kafka"]["seen"]
    assert "written only if absent" in found["lake"]["seen"]
    assert found["pseudonym keys"]["seen"] == "'k2' makes pseudonyms, and made some before: k1"
    assert not any(part in done.stdout for part in (cache_url, "a2V5a2V5", "of-a-file"))

    shown = lakehouse(["config", "show", "--json"], variables)
    origins = {one["name"]: one["origin"] for one in json.loads(shown.stdout)}
    assert (origins["REDIS_URL"], origins["LAKEHOUSE_URI"], origins["AWS_REGION"]) == (
        "file",
        "environment",
        "environment",
    )
    assert origins["AWS_SECRET_ACCESS_KEY"] == "file"
    assert not any(part in shown.stdout for part in (cache_url, "a2V5a2V5", "of-a-file"))


def test_services_that_are_wrong(s3: str, cache_url: str, project: Path, tmp_path: Path) -> None:
    nobody = f"{LOOPBACK}:{free_port()}"
    (project / "alerts.yaml").write_text("sinks: {team: {type: slack, urlFrom: NOT_SET}}")
    (project / "prices.yaml").write_text("nonsense: 1")
    more = {
        "LAKEHOUSE_URI": "s3://there-is-no-such-bucket/lake",
        "LAKEHOUSE_COMPUTE_LOGS": "s3://nor-this-one",
        "LAKEHOUSE_PSEUDONYM_KEYS": f"k1:{CANARY}",
        "LAKEHOUSE_PRICES": str(project / "prices.yaml"),
        "SCHEMA_REGISTRY_URL": f"http://me:{CANARY}@{nobody}",
        "REDIS_URL": f"redis://:{CANARY}@{cache_url.rpartition('@')[2]}",
        "DAGSTER_POSTGRES_URL": f"postgresql://me:{CANARY}@{nobody}/dagster",
    }
    variables = environment(home=tmp_path / "home", project=project, servers=nobody, more=more)

    done = lakehouse(["config", "check", "--json"], variables)

    assert done.returncode == 1, done.stdout + done.stderr
    found = outcomes(done.stdout)
    assert {name for name, one in found.items() if one["state"] != "wrong"} == {"settings", "contracts", "secret files"}
    assert all(one["found"] and one["remedy"] for one in found.values() if one["state"] == "wrong"), found
    for name, told in {
        "kafka": "KAFKA_BOOTSTRAP_SERVERS",
        "schema registry": "SCHEMA_REGISTRY_URL",
        "lake": "there-is-no-such-bucket",
        "cache": "REDIS_URL",
        "compute logs": "nor-this-one",
        "pseudonym keys": "LAKEHOUSE_PSEUDONYM_KEYS",
        "postgres": "DAGSTER_POSTGRES_URL",
        "alerts": "NOT_SET",
        "prices": "nonsense",
    }.items():
        assert told in " ".join(found[name].values()), found[name]
    assert "c4nary" not in done.stdout + done.stderr

    # As people read it.
    printed = lakehouse(["config", "check"], {**variables, "LAKEHOUSE_PROFILE": "production"})
    assert printed.returncode == 1
    assert "settings: wrong" in printed.stdout
    assert (
        "LAKEHOUSE_PROFILE=production, and SCHEMA_REGISTRY_URL lets data and passwords go without TLS" in printed.stdout
    )
    assert "c4nary" not in printed.stdout + printed.stderr


def test_commands_that_start_services_say_that_they_are_of_the_local_profile(tmp_path: Path) -> None:
    production = {
        "LAKEHOUSE_PROFILE": "production",
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "LAKEHOUSE_URI": "s3://lake/prod",
        "LAKEHOUSE_COMPUTE_LOGS": "s3://logs/prod",
        "DAGSTER_POSTGRES_URL": "postgresql://me@db/dagster?sslmode=verify-full",
        "AWS_ENDPOINT_URL": "",
    }
    variables = environment(home=tmp_path, servers="kafka:9093", more=production)
    done = lakehouse(["up"], variables)
    assert done.returncode == 1
    assert "`lakehouse up` starts services on this machine" in done.stderr
    assert not (tmp_path / "services").exists()
