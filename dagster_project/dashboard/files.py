"""The page's own files: read once, packed once, told apart by what is in them."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, kw_only=True)
class File:
    """A file as it is sent."""

    content: bytes
    packed: bytes
    media_type: str
    tag: str

    def answer(self, headers: Headers) -> Response:
        """The file, or that a browser has it already."""
        own = {"etag": self.tag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=own)
        if "gzip" in headers.get("accept-encoding", ""):
            return Response(self.packed, headers={**own, "content-encoding": "gzip"}, media_type=self.media_type)
        return Response(self.content, headers=own, media_type=self.media_type)


@cache
def files() -> dict[str, File]:
    """All of them, by name; what is not among them is not served."""
    return {path.name: _read(path) for path in _FOLDER.iterdir() if path.suffix in _TYPES}


def _read(path: Path) -> File:
    content = path.read_bytes()
    return File(
        content=content,
        packed=gzip.compress(content, mtime=0),
        media_type=_TYPES[path.suffix],
        tag=f'"{hashlib.sha256(content).hexdigest()[:16]}"',
    )
