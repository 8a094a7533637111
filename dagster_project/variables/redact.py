"""URLs as they may be shown."""

from __future__ import annotations


def without_secret(url: str) -> str:
    """A URL without its `user:password@` and without its query, which may hold a password, too.

    Not by `urlsplit`: a password with a slash or a question mark in it, which should have been quoted, would be taken for
    the path, and shown.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"
