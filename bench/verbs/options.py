"""Options that several verbs have, and what they mean."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, TypeAlias

from bench.model.zoo import zoo_names
from bench.project import in_checkout, project_root, root_path
from bench.rack.inventory import DEFAULT_RACK, Inventory, load_inventory

Verbs: TypeAlias = "argparse._SubParsersAction[Any]"
"""Verbs are added to it."""

DEFAULT_STORE = "results.db"
"""In the folder of reports, where no store is named."""


def with_examples(examples: str) -> dict[str, Any]:
    """For add_parser: what stands below the options, as it is written."""
    return {"epilog": examples, "formatter_class": argparse.RawDescriptionHelpFormatter}


def common(verb: argparse.ArgumentParser) -> None:
    """Which boards, where their state is, and --json: of all verbs."""
    rack = os.environ.get("BENCH_RACK")
    verb.add_argument(
        "--rack",
        type=Path,
        default=Path(rack) if rack else None,
        metavar="FILE",
        help="inventory; default: environment variable BENCH_RACK, then hosts/virtual.yaml",
    )
    verb.add_argument(
        "--state", type=Path, default=_in_project(".bench"), metavar="DIR", help="flash of virtual boards, logs"
    )
    verb.add_argument("--json", action="store_true", help="one JSON document on standard output, nothing else there")


def rack_inventory(options: argparse.Namespace) -> Inventory:
    """The inventory that a command is to use. Raises ConfigError."""
    if options.rack is not None:
        return load_inventory(options.rack)
    return load_inventory(DEFAULT_RACK if DEFAULT_RACK.is_file() else project_root() / DEFAULT_RACK)


def model(verb: argparse.ArgumentParser) -> None:
    """A model, and how it is compiled."""
    verb.add_argument("model", help=f"an ONNX file, or one of {', '.join(zoo_names())}")
    verb.add_argument("--scheme", default="full", help="which parameters train; default: all")
    verb.add_argument("--dtype", choices=("int8", "float32"), default="int8")
    verb.add_argument("--batch", type=int, default=1, metavar="N", help="gather the gradients of N samples; default: 1")
    verb.add_argument("--rule", choices=("compensated", "compensated4", "truncated"),
                      help="of int8 updates: what is below a weight's unit is kept in 8 bits (the default), in 4 (that "
                      "of scheme tte-49kb), or is lost (to be compared with)")  # fmt: skip
    verb.add_argument("--federated", action="store_true",
                      help="with a client's state for coded updates: base copy and error feedback")  # fmt: skip
    verb.add_argument("--loss", choices=("softmax_cross_entropy", "mean_squared_error"), help="instead of the model's")
    verb.add_argument(
        "--input",
        metavar="HxWxC",
        help="another input shape of a zoo model, or that of an ONNX file which leaves it open; as in 28x28x1",
    )
    verb.add_argument("--classes", type=int, metavar="N", help="another number of classes of a zoo model")
    verb.add_argument("--calibration", type=Path, metavar="FILE",
                      help=".npy of float32 samples [n, h, w, c] for int8 ranges; default: random inputs")  # fmt: skip
    verb.add_argument("--seed", type=int, default=0, help="of random weights and inputs")
    verb.add_argument(
        "--name", metavar="NAME", help="of the program in firmware/generated; default: made from the rest"
    )
    verb.add_argument("--layers", action="store_true", help="layer by layer")


def reports(verb: argparse.ArgumentParser) -> None:
    """Where runs and their store are, and what all verbs have."""
    verb.add_argument("--reports", type=Path, default=_reports(), metavar="DIR", help="where runs are kept")
    verb.add_argument(
        "--store",
        default=os.environ.get("BENCH_STORE"),
        metavar="FILE|URL",
        help=f"result store; default: environment variable BENCH_STORE, then {DEFAULT_STORE} beside the runs",
    )
    common(verb)


def store_of(options: argparse.Namespace) -> str | Path:
    """The store that a command is to use."""
    return str(options.store) if options.store else Path(options.reports) / DEFAULT_STORE


def _in_project(name: str) -> Path:
    """A folder of the project, whichever folder the command is called in."""
    root = root_path()
    return Path(name) if root == Path.cwd() else root / name


def _reports() -> Path:
    """In a checkout its own folder; an installed bench keeps a user's results where the user is."""
    return _in_project("reports") if in_checkout() else Path("reports")
