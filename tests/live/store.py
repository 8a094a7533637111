"""An S3 server in memory, fast enough for a lake under load, that can be slow on purpose.

The one of the other tests looks at all objects of a bucket to list a few, and serves some hundred requests a second with a
whole core. Here keys are kept in order, and writes with `If-None-Match: *` are atomic, as the loop does one thing at a time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import threading
import uuid
from bisect import bisect_left, bisect_right, insort
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from dagster_project.services.ports import LOOPBACK

# As many keys as S3 names in one answer at most.
_PAGE = 1_000
# Room for a request's head; bodies are read by their length.
_HEAD = 1 << 20
_REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 404: "Not Found", 412: "Precondition Failed"}
_XML = {"Content-Type": "application/xml"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """An object: what is in it, and since when."""

    body: bytes
    modified: dt.datetime
    etag: str

    @property
    def headers(self) -> dict[str, str]:
        modified = format_datetime(self.modified, usegmt=True)
        return {"ETag": self.etag, "Last-Modified": modified, "Accept-Ranges": "bytes"}


@dataclass(kw_only=True)
class Bucket:
    things: dict[str, Thing] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def put(self, key: str, body: bytes) -> Thing:
        if key not in self.things:
            insort(self.keys, key)
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        self.things[key] = Thing(body=body, modified=dt.datetime.now(dt.UTC), etag=f'"{digest}"')
        return self.things[key]

    def delete(self, key: str) -> None:
        if self.things.pop(key, None) is not None:
            del self.keys[bisect_left(self.keys, key)]


@dataclass(kw_only=True)
class Store:
    """Attributes: `delay_s`, `listing_delay_s`: how long a request waits; `requests`: how many there were."""

    port: int = 0
    delay_s: float = 0.0
    listing_delay_s: float = 0.0
    requests: int = 0
    buckets: dict[str, Bucket] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def make(self, bucket: str) -> None:
        self.buckets[bucket] = Bucket()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").split("\r\n")
                method, target, _ = first.split(" ")
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                if fields.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await reader.readexactly(int(fields.get("content-length") or 0))
                if "aws-chunked" in fields.get("content-encoding", ""):
                    body = _unchunked(body)
                self.requests += 1
                if delay := self.listing_delay_s if "list-type=2" in target else self.delay_s:
                    await asyncio.sleep(delay)
                answer = self.answer(method, target, fields, body)
                writer.write(_message(answer, head=method == "HEAD"))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):  # the client has gone, or we go
            pass
        finally:
            writer.close()

    def answer(self, method: str, target: str, fields: Mapping[str, str], body: bytes) -> Answer:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        name, _, key = unquote(url.path).removeprefix("/").partition("/")
        bucket = self.buckets.get(name)
        if bucket is None:
            return _error(404, "NoSuchBucket")
        if method == "POST" and "delete" in query:
            return _delete(bucket, body)
        if not key:
            return _listing(name, bucket, query) if method == "GET" else Answer(status=200)
        if method in {"GET", "HEAD"}:
            return _read(bucket, key, fields)
        if method == "DELETE":
            bucket.delete(key)
            return Answer(status=204)
        if method == "POST":
            return self._upload(bucket, key, query)
        if upload := query.get("uploadId"):
            self.uploads[upload][int(query["partNumber"])] = body
            return Answer(status=200, headers={"ETag": f'"{query["partNumber"]}"'})
        if fields.get("if-none-match") == "*" and key in bucket.things:
            return _error(412, "PreconditionFailed")
        if source := fields.get("x-amz-copy-source"):
            origin, _, other = unquote(source).removeprefix("/").partition("/")
            made = bucket.put(key, self.buckets[origin].things[other].body)
            return _xml(f"<CopyObjectResult><ETag>{escape(made.etag)}</ETag></CopyObjectResult>")
        return Answer(status=200, headers={"ETag": bucket.put(key, body).etag})

    def _upload(self, bucket: Bucket, key: str, query: Mapping[str, str]) -> Answer:
        """Begin an upload in parts, or end it."""
        if "uploads" in query:
            upload = uuid.uuid4().hex
            self.uploads[upload] = {}
            return _xml(
                f"<InitiateMultipartUploadResult><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
        parts = self.uploads.pop(query["uploadId"])
        made = bucket.put(key, b"".join(parts[number] for number in sorted(parts)))
        return _xml(
            f"<CompleteMultipartUploadResult><Key>{escape(key)}</Key><ETag>{escape(made.etag)}</ETag>"
            "</CompleteMultipartUploadResult>"
        )


def _read(bucket: Bucket, key: str, fields: Mapping[str, str]) -> Answer:
    thing = bucket.things.get(key)
    if thing is None:
        return _error(404, "NoSuchKey")
    wanted = fields.get("range", "").removeprefix("bytes=")
    if not wanted:
        return Answer(status=200, body=thing.body, headers=thing.headers)
    size = len(thing.body)
    begin, _, end = wanted.partition("-")
    first = int(begin) if begin else max(0, size - int(end))
    last = min(int(end), size - 1) if begin and end else size - 1
    if first >= size:
        return Answer(status=416)
    span = {"Content-Range": f"bytes {first}-{last}/{size}"}
    return Answer(status=206, body=thing.body[first : last + 1], headers={**thing.headers, **span})


def _listing(name: str, bucket: Bucket, query: Mapping[str, str]) -> Answer:
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after") or ""
    place = max(bisect_left(bucket.keys, prefix), bisect_right(bucket.keys, after) if after else 0)
    most = int(query.get("max-keys") or _PAGE)
    found: list[str] = []
    last, count = "", 0
    while place < len(bucket.keys) and (key := bucket.keys[place]).startswith(prefix) and count < most:
        rest = key[len(prefix) :]
        if delimiter and delimiter in rest:
            common = prefix + rest.partition(delimiter)[0] + delimiter
            found.append(f"<CommonPrefixes><Prefix>{escape(common)}</Prefix></CommonPrefixes>")
            # Past all that begins with it; no character comes after the last one there is.
            place = bisect_left(bucket.keys, common + "\U0010ffff")
            last = bucket.keys[place - 1]
        else:
            thing = bucket.things[key]
            found.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(thing.body)}</Size><ETag>{escape(thing.etag)}</ETag>"
                f"<LastModified>{thing.modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            )
            last = key
            place += 1
        count += 1
    more = place < len(bucket.keys) and bucket.keys[place].startswith(prefix)
    token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
    return _xml(
        f"<ListBucketResult><Name>{name}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{count}</KeyCount>"
        f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(found)}</ListBucketResult>"
    )


def _delete(bucket: Bucket, body: bytes) -> Answer:
    keys = [element.text or "" for element in ET.fromstring(body).iter() if element.tag.rpartition("}")[2] == "Key"]
    for key in keys:
        bucket.delete(key)
    gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
    return _xml(f"<DeleteResult>{gone}</DeleteResult>")


def _xml(text: str) -> Answer:
    return Answer(status=200, body=f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(), headers=_XML)


def _error(status: int, code: str) -> Answer:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Answer(status=status, body=body.encode(), headers=_XML)


def _message(answer: Answer, *, head: bool) -> bytes:
    fields = {**answer.headers, "Content-Length": str(len(answer.body)), "x-amz-request-id": "0"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    first = f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Error')}\r\n"
    return f"{first}{lines}\r\n".encode() + (b"" if head else answer.body)


def _unchunked(body: bytes) -> bytes:
    """The content of a body that is sent in chunks, with signatures or check sums among them."""
    parts: list[bytes] = []
    place = 0
    while True:
        end = body.index(b"\r\n", place)
        size = int(body[place:end].partition(b";")[0], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        place = end + 2 + size + 2


@contextmanager
def store(found: Store | None = None) -> Generator[Store]:
    """Run a server in a thread of its own: a new one on a free port, or one that ran before, with all that it had."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="store", daemon=True)
    thread.start()
    found = found or Store()
    start = asyncio.start_server(found.serve, LOOPBACK, found.port, limit=_HEAD)
    server = asyncio.run_coroutine_threadsafe(start, loop).result()
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
