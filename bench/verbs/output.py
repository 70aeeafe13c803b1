"""What verbs put on standard output."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from typing import Any


def tell(options: Namespace, document: Mapping[str, Any], text: str) -> int:
    """The document with --json, the text without. Returns exit code 0."""
    if options.json:
        return print_json(document)
    print_line(text)
    return 0


def print_line(text: str) -> None:
    """At once, for whoever waits for it."""
    print(text, flush=True)


def print_json(document: Any) -> int:
    """One document, at once. Returns exit code 0."""
    print(json.dumps(document, indent=2, default=str), flush=True)
    return 0
