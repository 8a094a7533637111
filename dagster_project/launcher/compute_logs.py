"""What runs print, kept in the store: Dagster's own manager, told where by one URL as everything else here is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

from dagster import StringSource
from dagster._serdes import ConfigurableClassData
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

from dagster_project.errors import ConfigurationError

# A run that follows a live stream prints for minutes: what it has printed can be read meanwhile.
_UPLOAD_S = 30


class ComputeLogs(S3ComputeLogManager):
    """Its one option is `root`, `s3://bucket/prefix`."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"root": StringSource}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Make it.

        Raises:
            ConfigurationError: the root is no place in a store.
        """
        root = config_value["root"]
        parts = urlsplit(root)
        if parts.scheme != "s3" or not parts.netloc:
            raise ConfigurationError(
                f"LAKEHOUSE_COMPUTE_LOGS={root}",
                expected="s3://bucket/prefix",
                remedy="set it to a prefix of its own, such as s3://my-bucket/compute-logs",
            )
        return cls(
            inst_data=inst_data,
            bucket=parts.netloc,
            prefix=parts.path.strip("/"),
            skip_empty_files=True,
            upload_interval=_UPLOAD_S,
        )
