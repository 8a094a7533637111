"""Where what runs print is kept."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.compute_log_manager import ComputeIOType

from dagster_project.errors import ConfigurationError
from dagster_project.launcher.compute_logs import ComputeLogs


def manager(folder: Path, monkeypatch: pytest.MonkeyPatch, root: str) -> ComputeLogs:
    """As an instance makes it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("LAKEHOUSE_COMPUTE_LOGS", root)
    (folder / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "compute_logs:\n"
        "  module: dagster_project.launcher.compute_logs\n"
        "  class: ComputeLogs\n"
        "  config: {root: {env: LAKEHOUSE_COMPUTE_LOGS}}\n"
    )
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        found = instance.compute_log_manager
    assert isinstance(found, ComputeLogs)
    return found


@pytest.mark.parametrize(
    ("root", "key"),
    [("s3://bucket/compute/logs/", "compute/logs/storage/run/step.err"), ("s3://bucket", "storage/run/step.err")],
)
def test_they_are_below_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, key: str) -> None:
    found = manager(tmp_path, monkeypatch, root)

    assert found._s3_bucket == "bucket"
    assert found._s3_key(["run", "step"], ComputeIOType.STDERR).lstrip("/") == key


@pytest.mark.parametrize("root", ["/var/log", "s3://", "gs://bucket/logs"])
def test_what_is_no_store_is_refused(root: str) -> None:
    with pytest.raises(ConfigurationError, match="s3://bucket/prefix"):
        ComputeLogs.from_config_value(None, {"root": root})
