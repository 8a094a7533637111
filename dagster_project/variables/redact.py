"""URLs as they may be shown."""

from __future__ import annotations

import re

# Shorter parts of a password are in many a word.
_TELLING = 4


def without_secret(url: str) -> str:
    """A URL without its `user:password@` and without its query, which may hold a password, too.

    Not by `urlsplit`: a password with a slash or a question mark in it, which should have been quoted, would be taken for
    the path, and shown.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


def tells_secret(text: str, url: str) -> bool:
    """Whether there is some of a URL's password in what a library says of it, such as of what it has taken for a port."""
    password = url.partition("://")[2].rpartition("@")[0].partition(":")[2]
    return any(len(part) >= _TELLING and part in text for part in re.split(r"[/?#@:]", password))
