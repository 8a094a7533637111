"""Files that others may read at any moment: written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Put a file in the place of the one that is there; whoever reads meanwhile has the one or the other.

    Args:
        mode: who may read it, from the first moment on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
            file.write(text)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)
