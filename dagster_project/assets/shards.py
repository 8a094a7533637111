"""Which shard of its topic a run reads, as a tag: the UI shows it, and of each shard the queue lets one run go on at a time."""

from __future__ import annotations

import dagster as dg

from dagster_project.errors import ConfigurationError
from dagster_project.ingest.shards import WHOLE, Shard

# `deploy/dagster.yaml` allows one run for each value.
SHARD_TAG = "lakehouse/shard"


def shard_tags(job_name: str, shard: Shard) -> dict[str, str]:
    """Tags of a run of a job that reads one shard; none of one that reads the whole topic."""
    return {} if shard.whole else {SHARD_TAG: f"{job_name} {shard}"}


def shard_of(run: dg.DagsterRun) -> Shard:
    """What a run reads: all Kafka partitions, unless it has a tag, as one has that a sensor launches.

    Raises:
        ConfigurationError: the tag names no shard.
    """
    tag = run.tags.get(SHARD_TAG)
    return WHOLE if tag is None else Shard.parse(tag.rpartition(" ")[2])


def read_by(run: dg.DagsterRun) -> Shard:
    """The same, of any run: one whose tag names no shard fails and says so, and is nobody else's trouble."""
    try:
        return shard_of(run)
    except ConfigurationError:
        return WHOLE
