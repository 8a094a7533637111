"""The project's documents as pages beside the figures: whoever is on call follows an alert to its runbook in one step."""

from __future__ import annotations

import html
from pathlib import Path

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from dagster_project.settings import REPOSITORY

_FOLDER = REPOSITORY / "docs"
_IMAGES = {".png": "image/png", ".svg": "image/svg+xml"}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/page.css">
</head>
<body class="document">
<nav aria-label="Back"><a href="/">The live page</a></nav>
<main>
{content}
</main>
</body>
</html>
"""


def document(path: str, *, folder: Path = _FOLDER) -> Response:
    """A document of the folder, or that there is none."""
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        return PlainTextResponse(f"there is no document {path}\n", status_code=404)
    if file.suffix in _IMAGES:
        return Response(file.read_bytes(), media_type=_IMAGES[file.suffix])
    if file.suffix != ".md":
        return PlainTextResponse(f"{path} is no document\n", status_code=404)
    from markdown_it import MarkdownIt  # noqa: PLC0415 few who watch read a document

    text = file.read_text(encoding="utf-8")
    title = next((line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")), path)
    # Without HTML of the document's own; links that run a script are left as text by the library.
    content = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return HTMLResponse(_PAGE.format(title=html.escape(title), content=content))
