"""Where this machine gets its Debian packages from, and the same archive's backports beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# One-line options and the deb822 fields that say the same; see sources.list(5).
_FIELDS = {"signed-by": "Signed-By", "trusted": "Trusted", "arch": "Architectures"}


@dataclass(frozen=True)
class Archive:
    """One entry of apt's sources: base URIs, and the fields that must hold for its backports as well."""

    uris: str
    fields: tuple[tuple[str, str], ...]

    def stanza(self, suite: str) -> str:
        """The deb822 entry for another suite of the same archive."""
        rows = [("Types", "deb"), ("URIs", self.uris), ("Suites", suite), ("Components", "main"), *self.fields]
        return "".join(f"{name}: {value}\n" for name, value in rows)


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """The entries of a deb822 file, field names in lower case; continuation lines are kept as they are."""
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields:
            yield fields


def _from_deb822(text: str, suite: str) -> Archive | None:
    for fields in _stanzas(text):
        if fields.get("enabled", "yes").lower() in ("no", "false", "0") or "deb" not in fields.get("types", "").split():
            continue
        if suite in fields.get("suites", "").split() and "main" in fields.get("components", "").split():
            kept = tuple((field, fields[field.lower()]) for field in _FIELDS.values() if field.lower() in fields)
            return Archive(fields.get("uris", ""), kept)
    return None


def _from_lines(text: str, suite: str) -> Archive | None:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<parts>.*)", line)
        if match is None or match["suite"] != suite or "main" not in match["parts"].split("#")[0].split():
            continue
        options = dict(option.split("=", 1) for option in (match["options"] or "").split() if "=" in option)
        kept = tuple((_FIELDS[name], value.replace(",", " ")) for name, value in options.items() if name in _FIELDS)
        return Archive(match["uri"], kept)
    return None


def find_archive(files: Iterable[tuple[str, str]], suite: str) -> Archive | None:
    """The archive of a release's main suite in apt's source files, given as pairs of name and text."""
    for name, text in files:
        archive = _from_deb822(text, suite) if name.endswith(".sources") else _from_lines(text, suite)
        if archive is not None:
            return archive
    return None
