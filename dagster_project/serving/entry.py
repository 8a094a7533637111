"""What the cache has of a mart: one hash, so that all of it is as of one version, and goes at one time.

Its fields: what Gold was, the served part, the schema, and the rows of each table partition. An older version never
replaces a newer one, and nothing is put on top of what somebody else has put there meanwhile: both are decided in the cache
itself, in the same step that writes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dagster_project.lake.keys import Key
from dagster_project.serving.cache import Cache
from dagster_project.serving.window import Window

if TYPE_CHECKING:
    from redis import Redis

Verdict = Literal["published", "outpaced", "moved"]
_HEAD = ("created", "version", "digest", "about", "schema")
# Before the name of a table partition.
_ROWS = "rows/"
# When versions became visible, for whoever measures latency: looks come every half minute, a stream makes some versions a
# second at most.
_VERSIONS_KEPT = 1_000
_VERSIONS_KEPT_S = 86_400
# Arguments: created, version, the digest that is expected to be there, life in ms, moment in µs, versions kept, their life in
# s, the number of fields; fields and values; names of fields that go.
_PUT = """
local held = redis.call('HMGET', KEYS[1], 'created', 'version', 'digest')
local created, version = tonumber(ARGV[1]), tonumber(ARGV[2])
if held[1] then
    local older, newer = tonumber(held[1]), tonumber(held[2])
    if older > created or (older == created and newer > version) then return 'outpaced' end
end
if (held[3] or '') ~= ARGV[3] then return 'moved' end
local last = 8 + 2 * tonumber(ARGV[8])
for i = 9, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('ZADD', KEYS[2], 'NX', ARGV[5], ARGV[1] .. '/' .. ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[6]))
redis.call('EXPIRE', KEYS[2], ARGV[7])
return 'published'
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the cache has of a mart, but for the rows.

    Attributes:
        created_ms: when the table was made, since the epoch: versions count from there.
        version, digest: of the table, the digest in hexadecimal.
        published_at: when this version became visible here.
        window: the served part.
        schema: the rows' columns, as `format.schema_of` gives them.
        left_s: seconds until it goes by itself.
    """

    created_ms: int
    version: int
    digest: str
    published_at: dt.datetime
    window: Window
    schema: bytes
    left_s: float = 0.0


def entries(names: Iterable[str], *, cache: Cache) -> dict[str, Entry | None]:
    """By mart what the cache has, in one go; `None` where it has nothing.

    Raises:
        CacheError: it does not answer.
    """
    marts = list(names)

    def read(client: Redis) -> list[Any]:
        with client.pipeline(transaction=False) as pipeline:
            for mart in marts:
                pipeline.hmget(cache.key(mart, "mart"), _HEAD)
                pipeline.pttl(cache.key(mart, "mart"))
            return pipeline.execute()

    found = cache.ask(read)
    return {mart: _entry(head, left) for mart, head, left in zip(marts, found[::2], found[1::2], strict=True)}


def rows_in(mart: str, keys: Iterable[Key] | None, *, cache: Cache) -> tuple[Entry, list[bytes]] | None:
    """What the cache has of a mart, with the batches of some table partitions or of all that are served.

    Raises:
        CacheError: it does not answer.
    """
    name = cache.key(mart, "mart")
    if keys is None:
        fields: dict[bytes, bytes] = cache.ask(lambda client: client.hgetall(name))
        entry = _entry([fields.get(field.encode()) for field in _HEAD])
        return None if entry is None else (entry, [fields[_field(key).encode()] for key in entry.window.tokens])
    wanted = [*_HEAD, *map(_field, keys)]
    values = cache.ask(lambda client: client.hmget(name, wanted))
    entry = _entry(values[: len(_HEAD)])
    return None if entry is None else (entry, [value for value in values[len(_HEAD) :] if value is not None])


def put(
    mart: str, entry: Entry, batches: Mapping[Key, bytes], *, base: Entry | None, ttl: dt.timedelta, cache: Cache
) -> Verdict:
    """Write what has changed since `base`, all or nothing.

    Args:
        batches: of table partitions that `base` does not have as they are now.

    Returns:
        `outpaced` where the cache has a newer version, `moved` where it no longer has `base`; then nothing was written.

    Raises:
        CacheError: it does not answer, and may have done it all the same.
    """
    at = int(entry.published_at.timestamp() * 1e6)
    fields = {
        "created": entry.created_ms,
        "version": entry.version,
        "digest": entry.digest,
        "about": _about(entry, at),
        "schema": entry.schema,
        **{_field(key): batch for key, batch in batches.items()},
    }
    gone = [] if base is None else [_field(key) for key in base.window.tokens if key not in entry.window.tokens]
    arguments = [
        entry.created_ms,
        entry.version,
        "" if base is None else base.digest,
        int(ttl.total_seconds() * 1000),
        at,
        _VERSIONS_KEPT,
        _VERSIONS_KEPT_S,
        len(fields),
        *(part for pair in fields.items() for part in pair),
        *gone,
    ]
    keys = [cache.key(mart, "mart"), cache.key(mart, "versions")]
    said: bytes = cache.ask(lambda client: client.register_script(_PUT)(keys, arguments))
    match said.decode():
        case "published":
            return "published"
        case "outpaced":
            return "outpaced"
        case _:
            return "moved"


def renew(lives: Mapping[str, dt.timedelta], *, cache: Cache) -> None:
    """Let marts live on that were found to be as new as Gold.

    Raises:
        CacheError: the cache does not answer.
    """

    def extend(client: Redis) -> None:
        with client.pipeline(transaction=False) as pipeline:
            for mart, ttl in lives.items():
                pipeline.pexpire(cache.key(mart, "mart"), ttl)
            pipeline.execute()

    cache.ask(extend)


def drop(marts: Iterable[str], *, cache: Cache) -> None:
    """Take marts out of the cache, whatever version they are.

    Raises:
        CacheError: it does not answer.
    """
    keys = [cache.key(mart, "mart") for mart in marts]

    def delete(client: Redis) -> None:
        with client.pipeline(transaction=False) as pipeline:  # in a cluster they are in many places
            for key in keys:
                pipeline.unlink(key)
            pipeline.execute()

    if keys:
        cache.ask(delete)


def visible_at(mart: str, *, created_ms: int, cache: Cache) -> dict[int, dt.datetime]:
    """By version of a mart when it became visible in the cache, of the newest thousand of the last day.

    A version that is not there became visible with the next one that is.

    Raises:
        CacheError: the cache does not answer.
    """
    found: list[tuple[bytes, float]] = cache.ask(
        lambda client: client.zrange(cache.key(mart, "versions"), 0, -1, withscores=True)
    )
    own = f"{created_ms}/".encode()
    return {
        int(name.removeprefix(own)): dt.datetime.fromtimestamp(at / 1e6, dt.UTC)
        for name, at in found
        if name.startswith(own)
    }


def _field(key: Key) -> str:
    return f"{_ROWS}{key}"


def _about(entry: Entry, at: int) -> str:
    window = entry.window
    tokens = [[str(key.date or ""), key.region or "", token] for key, token in window.tokens.items()]
    return json.dumps(
        {"at": at, "since": str(window.since or ""), "whole": window.whole, "rows": window.rows, "tokens": tokens}
    )


def _entry(head: list[bytes | None], left_ms: int = 0) -> Entry | None:
    created, version, digest, about, schema = head
    if created is None or version is None or digest is None or about is None or schema is None:
        return None
    said = json.loads(about)
    tokens = {Key(_date(date), region or None): token for date, region, token in said["tokens"]}
    return Entry(
        created_ms=int(created),
        version=int(version),
        digest=digest.decode(),
        published_at=dt.datetime.fromtimestamp(said["at"] / 1e6, dt.UTC),
        window=Window(tokens=tokens, since=_date(said["since"]), whole=said["whole"], rows=said["rows"]),
        schema=schema,
        left_s=left_ms / 1000,
    )


def _date(text: str) -> dt.date | None:
    return dt.date.fromisoformat(text) if text else None
