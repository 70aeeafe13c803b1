"""The pages of the user documentation as their tests read them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = "architecture.md"
"""The one page that is no tutorial."""

_FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SKIPPED = re.compile(r"# Not (?:tested|run): \S+ .+\.$")


@dataclass(frozen=True)
class Block:
    """A fenced block; `title` is the file that a reader saves it as, or empty."""

    language: str
    title: str
    text: str

    @property
    def skipped(self) -> bool:
        """Whether its first line gives a reason why it is not executed."""
        return _SKIPPED.match(self.text.splitlines()[0]) is not None


def pages() -> list[Path]:
    """The tutorials."""
    return sorted(page for page in DOCS.glob("*.md") if page.name != REFERENCE)


def blocks(page: Path) -> list[Block]:
    """In the page's order. Every fence of the page is one of these, or the page is malformed."""
    text = page.read_text(encoding="utf-8")
    found = [Block(*match.groups(default="")) for match in _FENCE.finditer(text)]
    assert len(found) * 2 == text.count("```"), (
        f"{page.name}: a code block without a language, or with other attributes"
    )
    return found
