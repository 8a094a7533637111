"""What the outbox writes into headers: of a letter, of the receipt for one, and of a message that is sent once more.

The platform's own headers of the dead-letter queue come last and in a fixed order, so that headers of the same names
which a message already had are told from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Header = tuple[str, bytes | None]
Headers = Sequence[Header]

_PREFIX = "lakehouse.dlq."
# What a letter says of its message, and a receipt of its letter.
LETTER = ("topic", "partition", "offset", "error", "correlation_id", "batch", "topic_id")
RECEIPT = ("topic", "partition", "offset", "topic_id", "replayed_as_attempt")
# Where the message failed first, and how often it was sent since.
REPLAY_OF, REPLAY_ATTEMPT = "lakehouse.replay.of", "lakehouse.replay.attempt"
# Any sender may write any header; a number with more digits is not ours.
_DIGITS = 6
# What a producer calls its own correlation id.
CORRELATION = "correlation_id"


def sign(received: Iterable[Header], names: Sequence[str], values: Mapping[str, object]) -> list[Header]:
    """Headers as received, then those of a letter or receipt, from the values of their names."""
    return [*received, *((_PREFIX + name, str(values[name]).encode()) for name in names)]


def signed(found: Headers, names: Sequence[str]) -> tuple[list[Header], dict[str, str]] | None:
    """Undo `sign`: headers as received, and values by name; `None` where it was not signed with these names."""
    own = found[-len(names) :]
    if [name for name, _ in own] != [_PREFIX + name for name in names]:
        return None
    values = {name: (value or b"").decode(errors="replace") for name, (_, value) in zip(names, own, strict=True)}
    return list(found[: -len(names)]), values


def replays(received: Headers) -> tuple[str | None, int]:
    """Where a message failed first and how often it was sent since; `None` and 0 where it was never sent again."""
    values = dict(received)  # the last of several
    origin, attempt = values.get(REPLAY_OF), values.get(REPLAY_ATTEMPT)
    if not origin or attempt is None or not attempt.isdigit() or len(attempt) > _DIGITS:
        return None, 0
    return origin.decode(errors="replace"), int(attempt)


def resent(received: Headers, *, origin: str, attempt: int, correlation_id: str) -> list[Header]:
    """Headers of a message that is sent once more: as received, with this attempt in place of an earlier one.

    A message without a correlation id has its place for one; that goes along, as it has another place from now on.
    """
    kept = [(name, value) for name, value in received if name not in {REPLAY_OF, REPLAY_ATTEMPT}]
    named = any(name == CORRELATION and value for name, value in kept)
    own = [] if named else [(CORRELATION, correlation_id.encode())]
    return [*kept, *own, (REPLAY_OF, origin.encode()), (REPLAY_ATTEMPT, str(attempt).encode())]
