"""What deploy/production says can be carried out: by Dagster's own schemas, by each tool that is there, and by the code."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.config import dagster_instance_config

from dagster_project.launcher.limits import BOUNDED
from dagster_project.services import orchestrator
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.variables.variables import NAMES

PRODUCTION = REPOSITORY / "deploy" / "production"
INSTANCES = {"compose": PRODUCTION / "dagster.yaml", "ecs": PRODUCTION / "ecs" / "dagster.yaml"}
VARIABLES = {
    "DAGSTER_POSTGRES_URL": "postgresql://dagster:password@localhost/dagster",
    "LAKEHOUSE_COMPUTE_LOGS": "s3://bucket/compute-logs",
    "LAKEHOUSE_RUN_TASK": "lakehouse-run:1",
}
_PIN = re.compile(r"^([A-Za-z0-9_.\[\]-]+)==(\S+)", re.MULTILINE)


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(params=INSTANCES)
def instance(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An instance's configuration, as Dagster reads it."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    shutil.copy(INSTANCES[request.param], tmp_path / "dagster.yaml")
    found, _ = dagster_instance_config(str(tmp_path))
    return dict(found)


@pytest.mark.parametrize("part", ["compute_logs", "run_coordinator", "run_launcher"])
def test_each_part_of_an_instance_has_the_configuration_that_its_class_asks_for(
    instance: dict[str, Any], part: str
) -> None:
    said = instance[part]
    made = getattr(importlib.import_module(said["module"]), said["class"])

    judged = process_config(resolve_to_config_type(made.config_type()), said.get("config", {}))

    assert judged.success, judged.errors


def test_an_instance_keeps_its_promises(instance: dict[str, Any]) -> None:
    assert instance["storage"] == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
    assert instance["concurrency"]["pools"] == {"granularity": "run", "default_limit": 1}
    assert instance["run_monitoring"]["enabled"] is True
    assert instance["run_monitoring"]["free_slots_after_run_end_seconds"] > 0
    retries = instance["run_retries"]
    assert (retries["enabled"], retries["retry_on_asset_or_op_failure"]) == (True, False)


def test_a_misspelt_instance_is_refused(tmp_path: Path) -> None:
    text = INSTANCES["compose"].read_text(encoding="utf-8").replace("dequeue_interval_seconds", "dequeue_every")
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")
    found, _ = dagster_instance_config(str(tmp_path))
    said = found["run_coordinator"]
    made = getattr(importlib.import_module(said["module"]), said["class"])

    assert not process_config(resolve_to_config_type(made.config_type()), said["config"]).success


def production(home: Path) -> Settings:
    uri = "s3://bucket/lake"
    return Settings(home=home, project=REPOSITORY, lake_uri=uri, bootstrap_servers="", profile="production")


def test_the_production_profile_puts_its_instance_into_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = production(tmp_path)

    variables = orchestrator.prepare(settings)

    assert loaded(tmp_path / "dagster" / "dagster.yaml") == loaded(INSTANCES["compose"])
    assert variables["DAGSTER_HOME"] == str(tmp_path / "dagster")


def test_an_instance_that_somebody_else_configures_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(INSTANCES["ecs"].parent))
    settings = production(tmp_path)

    assert orchestrator.prepare(settings)["DAGSTER_HOME"] == str(INSTANCES["ecs"].parent)
    assert not (tmp_path / "dagster").exists()


def services() -> dict[str, Any]:
    return loaded(PRODUCTION / "compose.yaml")["services"]


@pytest.mark.parametrize("name", services())
def test_each_service_tells_whether_it_is_well_or_ends_by_itself(name: str) -> None:
    service = services()[name]
    assert ("healthcheck" in service) != (service["restart"] == "no")


@pytest.mark.parametrize(
    "name", [name for name, service in services().items() if service.get("command", [""])[0] == "python"]
)
def test_each_command_of_the_platform_runs_a_module_that_there_is(name: str) -> None:
    for command in (services()[name]["command"], services()[name].get("healthcheck", {}).get("test", ["CMD"])[1:]):
        if command[:2] == ["python", "-m"]:
            assert find_spec(command[2]) is not None
    for path in (word for word in services()[name]["command"] if word.startswith("deploy/")):
        assert (REPOSITORY / path).is_file()


def test_every_variable_that_a_service_is_given_is_known() -> None:
    own = {"LAKEHOUSE_CODE_SERVER_HOST", "LAKEHOUSE_CODE_SERVER_PORT", "DAGSTER_DAEMON_HEARTBEAT_TOLERANCE"}
    libraries = {"AWS_EC2_METADATA_DISABLED", "SSL_CERT_FILE"}
    compose, helm = services()["daemon"], loaded(PRODUCTION / "values.yaml")["dagsterDaemon"]
    files = {name for name in compose["secrets"] if name.isupper()}

    assert {*compose["environment"], *files, *helm["env"]} - own - libraries <= set(NAMES)


@pytest.mark.parametrize("name", ["exporter", "page"])
def test_who_shows_data_to_others_has_what_it_wants_for_that(name: str) -> None:
    service = services()[name]
    files = {f"/run/secrets/{secret}" for secret in service["secrets"]}

    assert {"--tls-cert", "--tls-key"} <= set(service["command"])
    assert {word for word in service["command"] if word.startswith("/run/secrets/")} <= files
    assert {"LAKEHOUSE_METRICS_TOKEN", "LAKEHOUSE_DASHBOARD_TOKEN"} <= set(service["secrets"])


def test_the_schema_registry_is_of_the_version_that_was_tested() -> None:
    pom = (REPOSITORY / "deploy" / "registry" / "pom.xml").read_text(encoding="utf-8")
    (version,) = re.findall(
        r"<artifactId>apicurio-registry-app</artifactId>.*?<version>(.*?)</version>", pom, re.DOTALL
    )

    assert services()["schema-registry"]["image"] == f"apicurio/apicurio-registry:{version}"


def test_the_daemon_has_the_time_that_a_run_may_take() -> None:
    grace = int(services()["daemon"]["stop_grace_period"].removesuffix("s"))
    assert grace > int(BOUNDED["dagster/max_runtime"])


def test_every_secret_that_a_service_is_given_is_made_by_the_script(tmp_path: Path) -> None:
    made = secrets(tmp_path)
    wanted = {Path(found["file"]).name for found in loaded(PRODUCTION / "compose.yaml")["secrets"].values()}
    given = {secret for service in services().values() for secret in service.get("secrets", [])}

    assert wanted <= made.keys()
    assert given <= wanted


def secrets(folder: Path) -> dict[str, bytes]:
    subprocess.run(["bash", str(PRODUCTION / "secrets.sh"), str(folder)], check=True, capture_output=True, text=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_secrets_are_made_once_and_certificates_are_the_authoritys(tmp_path: Path) -> None:
    first = secrets(tmp_path)

    assert secrets(tmp_path) == first
    for name in ("kafka", "registry", "postgres", "cache", "store", "views"):
        verify = ["openssl", "verify", "-CAfile", str(tmp_path / "ca.pem"), str(tmp_path / f"{name}.crt")]
        subprocess.run(verify, check=True, capture_output=True)
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    password = first["POSTGRES_PASSWORD"].decode()
    assert f":{password}@postgres:5432/" in first["DAGSTER_POSTGRES_URL"].decode()


def test_the_image_has_the_versions_that_were_tested() -> None:
    tested = dict(_PIN.findall((REPOSITORY / "requirements.lock").read_text(encoding="utf-8")))
    shipped = dict(_PIN.findall((PRODUCTION / "requirements.lock").read_text(encoding="utf-8")))

    assert {name: version for name, version in shipped.items() if tested.get(name) != version} == {}
    assert {"dagster", "dagster-postgres", "dagster-aws", "dagster-k8s"} <= shipped.keys()
    assert "pytest" not in shipped


@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="needs docker-compose, which needs no engine for this"
)
def test_compose_would_take_the_file() -> None:
    file = str(PRODUCTION / "compose.yaml")
    ran = subprocess.run(
        ["docker-compose", "-f", file, "config", "--quiet"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_cloudformation_would_take_the_template() -> None:
    # Aliases (W1100, W1101) are resolved by `aws cloudformation package`, as the template says.
    lint = [sys.executable, "-m", "cfnlint", "--ignore-checks", "W1100", "W1101", "--format", "json", "--"]
    ran = subprocess.run(
        [*lint, str(PRODUCTION / "ecs" / "lakehouse.yaml")], capture_output=True, text=True, check=False
    )
    assert json.loads(ran.stdout or "[]") == []


def test_a_run_on_ecs_has_what_its_code_server_has() -> None:
    class Loader(yaml.SafeLoader):
        """Of CloudFormation, whose functions are tags."""

    Loader.add_multi_constructor("!", lambda loader, tag, node: f"{tag} {node.value}")
    template = yaml.load((PRODUCTION / "ecs" / "lakehouse.yaml").read_text(encoding="utf-8"), Loader)
    tasks = {
        name: task["Properties"]["ContainerDefinitions"][0]
        for name, task in template["Resources"].items()
        if task["Type"] == "AWS::ECS::TaskDefinition"
    }
    server, run = tasks["CodeServerTask"], tasks["RunTask"]
    only_of_servers = {
        "LAKEHOUSE_CODE_SERVER_HOST",
        "LAKEHOUSE_CODE_SERVER_PORT",
        "LAKEHOUSE_RUN_TASK",
        "DAGSTER_DAEMON_HEARTBEAT_TOLERANCE",
    }
    given = {entry["Name"]: entry["Value"] for entry in server["Environment"] if entry["Name"] not in only_of_servers}

    assert {entry["Name"]: entry["Value"] for entry in run["Environment"]} == given
    assert run["Secrets"] == server["Secrets"]


def test_helm_says_of_the_instance_what_compose_says() -> None:
    values, own = loaded(PRODUCTION / "values.yaml"), loaded(INSTANCES["compose"])
    daemon = values["dagsterDaemon"]

    assert values["concurrency"]["enabled"] is True
    assert values["concurrency"]["pools"] == {"granularity": "run", "defaultLimit": 1}
    limits = own["concurrency"]["runs"]["tag_concurrency_limits"]
    assert values["concurrency"]["runs"]["tagConcurrencyLimits"] == limits
    assert daemon["runRetries"] == {
        "enabled": True,
        "maxRetries": own["run_retries"]["max_retries"],
        "retryOnAssetOrOpFailure": False,
    }
    assert values["retention"]["sensor"]["purgeAfterDays"] == own["retention"]["sensor"]["purge_after_days"]
    logs = values["computeLogManager"]["config"]["customComputeLogManager"]
    assert logs == own["compute_logs"]


def test_dagster_would_take_what_helm_hands_on(tmp_path: Path) -> None:
    handed_on = loaded(PRODUCTION / "values.yaml")["additionalInstanceConfig"]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(handed_on), encoding="utf-8")

    found, _ = dagster_instance_config(str(tmp_path))

    assert found["run_monitoring"]["free_slots_after_run_end_seconds"] > 0


def test_kubernetes_would_take_what_helm_says_of_runs() -> None:
    from dagster_k8s.job import UserDefinedDagsterK8sConfig
    from dagster_k8s.launcher import K8sRunLauncher

    values = loaded(PRODUCTION / "values.yaml")
    config = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    snake = {
        "container_config": config["containerConfig"],
        "pod_spec_config": config["podSpecConfig"],
        "job_spec_config": config["jobSpecConfig"],
    }
    said = {
        "service_account_name": values["serviceAccount"]["name"],
        "instance_config_map": "dagster-instance",
        "dagster_home": values["global"]["dagsterHome"],
        "volumes": values["dagsterDaemon"]["volumes"],
        "volume_mounts": values["dagsterDaemon"]["volumeMounts"],
        "run_k8s_config": snake,
    }
    judged = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), said)

    assert judged.success, judged.errors
    assert UserDefinedDagsterK8sConfig.from_dict(snake).pod_spec_config["security_context"]["run_as_non_root"] is True
