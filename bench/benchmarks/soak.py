"""Several soaks, of other seeds and perhaps side by side, as one page.

    python -m bench.benchmarks.soak reports/soaks/soak-… [FOLDER …] [--markdown FILE]

Each folder is of a `bench soak` that has come to its end. Prints the table of a soak.md over the faults of
all, what they came to, and a row for each soak. Ends with 1 if one of them was not passed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.benchmarks.markdown import table
from bench.errors import BenchError, ConfigError
from bench.results.files import write_atomically
from bench.soak.record import Leg, markdown, passed, totals

_COUNTS = (
    "injected", "recovered", "updates", "left_out", "lost_updates", "duplicated_updates", "hangs", "leaked_processes",
    "wrong_figures", "weights_equal",
)  # fmt: skip


_READ = (*_COUNTS, "seed", "legs", "seconds", "boards", "passed")


@dataclass(frozen=True)
class Ended:
    """A soak's document and its legs."""

    document: dict[str, Any]
    legs: Sequence[Leg]


def load(folder: Path) -> Ended:
    """A soak that has ended. Raises ConfigError that names the file which is not there or not what it is to be."""
    path = folder / "soak.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        paths = sorted((folder / "legs").glob("*.json"))
        legs = [Leg.from_document(json.loads(leg.read_text(encoding="utf-8"))) for leg in paths]
        struck = sum(len(leg.faults) for leg in legs)
        lacking = [name for name in _READ if name not in document]
        if lacking:
            raise ConfigError(f"{path}: without {', '.join(lacking)}: not of a soak that has come to its end")
        if struck != document["injected"]:
            raise ConfigError(f"{folder}: legs with {struck} faults, but soak.json says {document['injected']}")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}: is it of a soak that has come to its end?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder}: not a soak's folder: {error!r}") from error
    return Ended(document, legs)


def page(soaks: Sequence[Ended]) -> tuple[str, bool]:
    """The page in Markdown, and whether all have passed."""
    together = totals([leg for soak in soaks for leg in soak.legs], sum(s.document["leaked_processes"] for s in soaks))
    whole = passed(together) and all(soak.document["passed"] for soak in soaks)
    boards = ", ".join(dict.fromkeys(board for soak in soaks for board in soak.document["boards"]))
    lines = [
        f"# A soak of {together['injected']:,} faults",
        "",
        f"Over the virtual boards {boards}; seconds are wall time, from the strike until the line carries a frame "
        "again, or the ladder has ended, or the resumed run has its first update.",
        "",
        markdown(together),
        table(("", *(name.replace("_", " ") for name in _COUNTS)), [("in all", *(together[n] for n in _COUNTS))]),
        "",
        "Lost: acknowledged by the host, yet not counted. Left out: did not come, and were left out of the rounds "
        "without faults too, with which weights and figures are compared.",
        "",
        table(
            ("soak", "seed", "legs", "wall, s", *(name.replace("_", " ") for name in _COUNTS)),
            [
                (number, soak.document["seed"], soak.document["legs"], round(soak.document["seconds"]),
                 *(soak.document[name] for name in _COUNTS))
                for number, soak in enumerate(soaks, 1)
            ],
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n", whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.benchmarks.soak", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the page here too")
    options = parser.parse_args(arguments)
    try:
        folders = list(dict.fromkeys(folder.resolve() for folder in options.folders))
        text, whole = page([load(folder) for folder in folders])
        if options.markdown is not None:
            write_atomically(options.markdown, text.encode())
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(text, end="")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
