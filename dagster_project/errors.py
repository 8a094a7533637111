"""The one tree of errors: what was found, what was expected, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence


class LakehouseError(Exception):
    """Base of every error that the platform raises on purpose.

    Args:
        found: what was found, with the name of the thing it was found in.
        expected: what should have been there; empty where `found` makes it plain.
        remedy: the next step for the person who reads this.
    """

    def __init__(self, found: str, *, expected: str = "", remedy: str = "") -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.found]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.remedy:
            lines.append(f"  to do:    {self.remedy}")
        return "\n".join(lines)


class ConfigurationError(LakehouseError):
    """A setting is missing or makes no sense."""


class ContractError(LakehouseError):
    """A data contract or its SQL is not valid."""


class RuleError(LakehouseError):
    """Rows break a rule of the contract that publishes all of a batch or nothing; nothing was published."""


class ServiceError(LakehouseError):
    """A local service cannot be started, stopped or found."""


class RegistryError(LakehouseError):
    """The schema registry does not answer, or refuses a schema."""


class KafkaError(LakehouseError):
    """The broker or a topic is not as the contract needs it."""


class TopicIdentityError(KafkaError):
    """The topic is not the one that the cursor was written for: re-created, or another cluster."""


class OffsetLossError(KafkaError):
    """The log starts after the cursor: events were deleted before they were read."""


class LakeError(LakehouseError):
    """A table cannot be read or written."""


class EngineError(LakehouseError):
    """A job on a cluster has failed; nothing was committed."""


class CacheError(LakehouseError):
    """The cache does not answer; readers have Gold instead."""


class ExpiredError(LakehouseError):
    """Rows that were to be read again were deleted after the contract's retention."""


class StaleCursorError(LakeError):
    """Another writer moved the cursor since it was read; nothing was written."""


class OvertakenError(StaleCursorError):
    """Another writer of other cursors has come as far as this one meant to; nothing was written, and it may go further."""


class AccountingError(LakehouseError):
    """An offset has no proven place."""


class SinkError(LakehouseError):
    """A notification was not taken."""


def together(errors: Sequence[LakehouseError]) -> ConfigurationError:
    """Several as one, so that a person mends them at once."""
    if len(errors) == 1:
        return ConfigurationError(errors[0].found, expected=errors[0].expected, remedy=errors[0].remedy)
    return ConfigurationError("\n".join(str(error) for error in errors))
