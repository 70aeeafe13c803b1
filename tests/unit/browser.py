"""A page as Debian's Chromium shows it, headless: measured from within, printed, and photographed."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_FRAME = """<!doctype html><html><body style="margin:0">
<iframe id="page" style="border:0;width:{width}px;height:800px" srcdoc="{page}"></iframe>
<pre id="told"></pre>
<script>
document.getElementById("page").addEventListener("load", () => {{
  const window_ = document.getElementById("page").contentWindow, inside = window_.document;
  const outside = [...inside.body.querySelectorAll("*")].filter(element => {{
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.right > window_.innerWidth + 1 && !element.closest(".scroll");
  }}).map(element => element.tagName + " " + (element.textContent || "").trim().slice(0, 40));
  const texts = [...inside.querySelectorAll("svg text")].map(text => text.getBoundingClientRect())
    .filter(box => box.height > 0);
  const style = window_.getComputedStyle(inside.body);
  document.getElementById("told").textContent = JSON.stringify({{
    width: inside.documentElement.scrollWidth, outside,
    requests: window_.performance.getEntriesByType("resource").map(entry => entry.name),
    background: style.backgroundColor, ink: style.color,
    text_px: texts.length ? Math.min(...texts.map(box => box.height)) : null,
    cut: [...inside.querySelectorAll("svg")].flatMap(svg => {{
      const frame = svg.getBoundingClientRect();
      return [...svg.querySelectorAll("text")].filter(text => {{
        const box = text.getBoundingClientRect();
        return box.width > 0 && (box.left < frame.left - 2 || box.right > frame.right + 2);
      }}).map(text => text.textContent);
    }}),
  }});
}});
</script></body></html>"""


@dataclass(frozen=True)
class Browser:
    """Chromium, with a folder for its profile and files."""

    program: str
    folder: Path

    def look(self, page: Path, *, width: int, dark: bool = False) -> dict[str, Any]:
        """What a page measures in a window so wide."""
        frame = self.folder / f"frame-{width}-{dark}.html"
        frame.write_text(
            _FRAME.format(width=width, page=html.escape(page.read_text(encoding="utf-8"))), encoding="utf-8"
        )
        dom = self._run(["--dump-dom", "--virtual-time-budget=5000", frame.as_uri()], dark=dark)
        told = re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)
        assert told, dom[-2000:]
        found: dict[str, Any] = json.loads(html.unescape(told[1]))
        return found

    def print(self, page: Path) -> bytes:
        """As PDF."""
        target = self.folder / "page.pdf"
        self._run([f"--print-to-pdf={target}", "--no-pdf-header-footer", page.as_uri()])
        return target.read_bytes()

    def _run(self, arguments: list[str], *, dark: bool = False) -> str:
        command = [
            self.program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            f"--user-data-dir={self.folder / 'profile'}", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            *arguments,
        ]  # fmt: skip
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**os.environ, "HOME": str(self.folder)},
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        return ended.stdout


def find_browser(folder: Path) -> Browser:
    """Skips the test where there is none: set-up installs it where apt can."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium here: `make setup-develop` installs it where apt has it")
    return Browser(program, folder)
