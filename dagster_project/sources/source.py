"""A source: a stream of events whose parameters name it, so that sending can stop and go on."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dagster_project.contract.model import Dataset
from dagster_project.sources.events import Event, Headers, headers

# Hex digits of a hash: 48 bits never collide among the runs of one installation, and stay readable.
FINGERPRINT_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Events of one dataset. The same parameters give the same events in the same order."""

    dataset: Dataset

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, object]:
        """All that the events depend on."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __iter__(self) -> Iterator[Event]: ...

    @property
    def progress_group(self) -> str:
        """The consumer group under which Kafka keeps how far this stream was sent."""
        text = json.dumps(self.parameters, sort_keys=True, default=str)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_DIGITS]
        return f"lakehouse-produce-{self.dataset.name}-{fingerprint}"

    def headers(self) -> Iterator[Headers]:
        return headers(stream=self.progress_group, version=self.dataset.version)
