"""The connection to the cache: where it is, how long it is waited for, and what it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from dagster_project.errors import CacheError
from dagster_project.lake.storage import Storage
from dagster_project.services.cache import cache_url
from dagster_project.settings import Settings
from dagster_project.variables.redact import without_secret

if TYPE_CHECKING:
    import datetime as dt

    from redis import Redis

    from dagster_project.serving.breaker import Breaker

_T = TypeVar("_T")
# A cache in the same network answers within a millisecond, ten thousand rows within ten. What is not there after so long is
# read from Gold sooner; and a run that cannot publish loses no more by it.
TIMEOUT_S = 0.5
# Of the lake in the names of keys: several lakes may share one cache.
_LAKE_DIGITS = 8


class Cache:
    """A cache of one lake's marts. Connects when it is used; a local one is looked up anew each time, as it may move.

    Args:
        locate: gives its URL, empty where there is none.

    Attributes:
        told: since when it was not available when that was last logged.
    """

    def __init__(self, locate: Callable[[], str], *, storage: Storage) -> None:
        self._locate = locate
        self.told: dt.datetime | None = None
        self._known: dict[str, tuple[Redis, Breaker]] = {}
        self._prefix = "lakehouse:" + hashlib.sha256(storage.uri.encode()).hexdigest()[:_LAKE_DIGITS]

    @classmethod
    def of(cls, settings: Settings) -> Cache:
        """The cache of an installation: the one of REDIS_URL, or the local one."""
        return cls(lambda: cache_url(settings), storage=Storage.at(settings.lake_uri))

    @property
    def there(self) -> bool:
        """Whether there should be one, however it is."""
        return bool(self._locate())

    @property
    def address(self) -> str:
        """As it may be shown; empty where there is none."""
        return without_secret(self._locate())

    @property
    def since(self) -> dt.datetime | None:
        """Since when it is not to be asked, as far as it or this process knows; `None` while it is."""
        return self.breaker.since

    @property
    def breaker(self) -> Breaker:
        """What lets calls through.

        Raises:
            CacheError: there is no cache.
        """
        return self._connection()[1]

    def key(self, mart: str, what: str) -> str:
        """Name of a key of a mart; all of one mart are kept in one place of a cluster."""
        return f"{self._prefix}:{{{mart}}}:{what}"

    def ask(self, work: Callable[[Any], _T]) -> _T:
        """Let something be done with the cache's client.

        Args:
            work: gets a `redis.Redis` whose answers are bytes; its types leave open whether they are text.

        Raises:
            CacheError: there is no cache, it does not answer in time, or it has lately not answered.
        """
        client, breaker = self._connection()
        from pybreaker import CircuitBreakerError
        from redis.exceptions import RedisError

        try:
            return breaker.call(lambda: work(client))
        except (RedisError, CircuitBreakerError) as error:
            cause = breaker.cause or error
            if (refused := _refusal(cause)) is not None:
                raise CacheError(
                    f"the cache at {self.address} {refused}",
                    expected="a user with its password and rights, and a certificate that REDIS_CA_LOCATION vouches for",
                    remedy="correct REDIS_URL, REDIS_CA_LOCATION or the user's access list, as docs/serving.md has it; "
                    "readers have Gold meanwhile",
                ) from error
            raise CacheError(
                f"the cache at {self.address} does not answer: {cause}",
                expected=f"an answer within {TIMEOUT_S} s",
                remedy="nothing for the data: readers have Gold, and it is filled again once it is back; "
                "`lakehouse status` and `lakehouse serve status` say more",
            ) from error

    def _connection(self) -> tuple[Redis, Breaker]:
        url = self._locate()
        if not url:
            raise CacheError("no cache", remedy="run `lakehouse up`, or set REDIS_URL")
        # Without a lock: of two threads that connect at the same time the later one's breaker counts.
        found = self._known.get(url)
        if found is None:
            found = self._known[url] = _connect(url, namespace=self._prefix)
        return found


def _refusal(error: Exception) -> str | None:
    """In words, that the cache turns this process away; `None` of another error, such as none to be there."""
    from redis.exceptions import AuthenticationError, NoPermissionError

    if isinstance(error, AuthenticationError):
        return f"does not let in the user of REDIS_URL: {error}"
    if isinstance(error, NoPermissionError):
        return f"does not allow this to the user of REDIS_URL: {error}"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"shows a certificate that nobody vouches for: {error}"
    return None


def _connect(url: str, *, namespace: str) -> tuple[Redis, Breaker]:
    # Imported late: a tenth of a second, and where there is no cache nobody needs it.
    from redis import Redis

    from dagster_project.serving.breaker import Breaker
    from dagster_project.variables.variables import Variables

    own = Variables.read().redis_ca_location if url.startswith("rediss:") else None
    try:
        client = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            protocol=2,  # a connection is ready without a further question
            driver_info=None,  # as above
            **({} if own is None else {"ssl_ca_certs": str(own)}),
        )
    except ValueError:
        client = None
    if client is None:  # outside of the handler: what it caught may name the password
        raise CacheError(
            f"the cache at {without_secret(url)} has no address that makes sense",
            expected="redis://user:password@host:port/0, the password percent-encoded",
            remedy="correct REDIS_URL: of a password with / or ? in it write %2F or %3F",
        )
    return client, Breaker(client, namespace=namespace)
