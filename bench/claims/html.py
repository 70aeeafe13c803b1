"""The claims' page as one file for a browser: the Markdown's text and tables, its images inside."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from markdown_it import MarkdownIt

import bench

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}
main table {{ display: block; overflow-x: auto; max-width: 100%; }}
main :not(td) > code {{ overflow-wrap: anywhere; }}
main img {{ max-width: 100%; height: auto; background: #fff; }}
</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""
_IMAGE = re.compile(r'src="([^":]+\.png)"')


def as_html(text: str, folder: Path) -> str:
    """A page of Markdown whose images lie in `folder`: no other file is needed to look at it."""

    def inside(found: re.Match[str]) -> str:
        path = folder / found[1]
        if not path.is_file():
            return found[0]
        return f'src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"'

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    style = (Path(bench.__file__).parent / "report" / "report.css").read_text(encoding="utf-8")
    title = text.partition("\n")[0].lstrip("# ")
    return _PAGE.format(title=title, style=style, body=_IMAGE.sub(inside, body))
