"""The circuit breaker around the cache: all processes share its state through the cache, for as long as that answers."""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pybreaker import (
    STATE_CLOSED,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerStorage,
    CircuitMemoryStorage,
    CircuitRedisStorage,
)
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as TooLate

if TYPE_CHECKING:
    from redis import Redis

_T = TypeVar("_T")
# Commands that fail one after the other, in whichever processes: two may be chance.
_FAILURES = 3
# So long nobody tries an open one. A trial of a cache that hangs costs its time-out, a tenth of this; and a cache that is
# back is used again before anybody has gone to look.
RESET_S = 5
# An answer that took longer is one too late: of many commands, each of them just within its time-out.
_SLOW_S = 1.0


class Breaker:
    """Lets calls of the cache through, or not."""

    def __init__(self, client: Redis, *, namespace: str) -> None:
        self._storage = _Storage(client, namespace)
        self._circuit = CircuitBreaker(
            fail_max=_FAILURES, reset_timeout=RESET_S, state_storage=self._storage, throw_new_error_on_trip=False
        )

    def call(self, work: Callable[[], _T]) -> _T:
        """What the work returns.

        Raises:
            RedisError: it fails.
            CircuitBreakerError: nobody is to try now.
        """
        began = time.monotonic()
        result = self._circuit.call(lambda: self._guarded(work))
        if (seconds := time.monotonic() - began) > _SLOW_S:
            self._storage.lose(TooLate(f"it took {seconds:.1f} s"))
        return result

    def _guarded(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except RedisError as error:
            self._storage.cause = error
            if isinstance(error, NoConnection | TooLate):
                # It is not to be waited for once more, to note this down in it.
                self._storage.lose(error)
            raise

    @property
    def state(self) -> str:
        """`closed`, `half-open` or `open`, as the cache says, or this process where it does not answer."""
        return self._circuit.current_state

    @property
    def since(self) -> dt.datetime | None:
        """When it opened; `None` of a closed one."""
        return None if self.state == STATE_CLOSED else self._storage.lost_at or self._storage.opened_at

    @property
    def cause(self) -> RedisError | None:
        """The failure that this process has seen last, if there was no success since the breaker opened."""
        return self._storage.cause


class _Reraising:
    """In place of a log: pybreaker writes a traceback and goes on with a guess, where a failure is to be known."""

    @staticmethod
    def exception(_: str) -> None:
        error = sys.exc_info()[1]
        assert error is not None
        raise error


class _Shared(CircuitRedisStorage):
    logger: Any = _Reraising


class _Storage(CircuitBreakerStorage):
    """In the cache, or where that does not answer in the memory of this process, and then open: it has just failed."""

    def __init__(self, client: Redis, namespace: str) -> None:
        super().__init__("cache, or memory")
        self._client = client
        self._namespace = namespace
        self._shared: CircuitBreakerStorage | None = None
        self._memory = CircuitMemoryStorage(STATE_CLOSED)
        self.lost_at: dt.datetime | None = None
        self.cause: RedisError | None = None

    def lose(self, cause: RedisError) -> None:
        now = dt.datetime.now(dt.UTC)
        self.lost_at, self.cause = self.lost_at or now, cause
        self._memory.state, self._memory.opened_at = STATE_OPEN, now

    def _either(self, use: Callable[[CircuitBreakerStorage], _T]) -> _T:
        if self.lost_at is None:
            try:
                if self._shared is None:
                    self._shared = _Shared(STATE_CLOSED, self._client, namespace=self._namespace)
                return use(self._shared)
            except RedisError as error:
                self.lose(error)
        return use(self._memory)

    @property
    def state(self) -> str:
        return self._either(lambda storage: storage.state)

    @state.setter
    def state(self, state: str) -> None:
        self._either(lambda storage: setattr(storage, "state", state))
        if state == STATE_CLOSED:  # a trial has succeeded
            self.lost_at = self.cause = None

    @property
    def opened_at(self) -> dt.datetime | None:
        return self._either(lambda storage: storage.opened_at)

    @opened_at.setter
    def opened_at(self, datetime: dt.datetime) -> None:
        self._either(lambda storage: setattr(storage, "opened_at", datetime))

    @property
    def counter(self) -> int:
        return self._either(lambda storage: storage.counter)

    @property
    def success_counter(self) -> int:
        return self._either(lambda storage: storage.success_counter)

    def increment_counter(self) -> None:
        self._either(lambda storage: storage.increment_counter())

    def reset_counter(self) -> None:
        self._either(lambda storage: storage.reset_counter())

    def increment_success_counter(self) -> None:
        self._either(lambda storage: storage.increment_success_counter())

    def reset_success_counter(self) -> None:
        self._either(lambda storage: storage.reset_success_counter())
