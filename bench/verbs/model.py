"""The verbs that compile models: `bench plan` and `bench step`."""

from __future__ import annotations

import re
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from bench.compiler.recipe import Recipe
from bench.compiler.scheme import scheme_help
from bench.errors import ConfigError
from bench.planning import Planned, alternatives, make_plan, require_fit
from bench.progress import Reporter
from bench.rack.rack import Rack
from bench.verbs.options import Verbs, common, model, rack_inventory, with_examples
from bench.verbs.output import print_json

_PICTURES = (".png", ".svg", ".pdf")

_PLAN_EXAMPLES = """\
examples:
  bench plan lenet-5 --scheme last-2 --env microbit     does it fit 16 KB, and what would?
  bench plan mine.onnx --scheme sparse-10 --layers      your own network, layer by layer
  bench plan resnet-8 --dtype float32 --picture map.png the memory map as a picture

The exit code is 0 whether it fits or not: with --json `fits` and `problems` tell. It fits where `ram_needed_bytes`, the
total and a federated client's state, is at most `ram_bytes`, and stack and image are within what the board keeps for
them. `lower_bound_bytes` is what no placement of the arena can go below in the chosen order of operations; in another
order it might be less.
"""

_STEP_EXAMPLES = """\
examples:
  bench step lenet-5 --scheme bias --env netduinoplus2         instructions and SRAM of a step on an emulated M4F
  bench step mcunet-5fps --scheme tte-49kb --env mps2_an386 --json
  bench step mine.onnx --scheme last-1 --board plus2           on a board of the rack

With --json: `saturated` counts how often a gradient or a trained parameter was clipped to int8's range in this step (0
in float32), and `planned` has what `bench plan` says of the same figures. What does not fit the board is refused (exit
code 2), with the schemes that would.
"""


def add(verbs: Verbs) -> None:
    """Both."""
    plan_ = verbs.add_parser(
        "plan",
        help="compile a model for a board: every byte of its memory, MACs, and whether it fits",
        **with_examples(f"{_PLAN_EXAMPLES}\n{scheme_help()}"),
    )
    plan_.add_argument("--env", default="netduinoplus2", metavar="ENV", help="kind of board; default: %(default)s")
    plan_.add_argument("--picture", type=Path, metavar="FILE", help="write the memory map as PNG, SVG or PDF")
    plan_.set_defaults(call=plan)
    step_ = verbs.add_parser(
        "step",
        help="run one training step of a model on an emulated core or a board, and count it",
        **with_examples(_STEP_EXAMPLES),
    )
    step_.add_argument("--env", metavar="ENV", help="an emulated core of this kind of board")
    step_.add_argument("--board", metavar="BOARD", help="a board of the rack, which is flashed for it")
    step_.add_argument("--witness", action="store_true",
                      help="let the emulator watch every store, beside the image's own figures")  # fmt: skip
    step_.set_defaults(call=step)
    for verb in (plan_, step_):
        model(verb)
        common(verb)


def plan(options: Namespace) -> int:
    """`bench plan`: 0 also where the plan does not fit, as that is an answer."""
    from bench.report.plan_view import alternatives_view, plan_view  # matplotlib takes a second

    recipe = recipe_of(options)
    _check_picture(options.picture)
    planned = make_plan(recipe, options.env, Reporter().say)
    if options.picture is not None:
        _picture(planned, options.picture)
    others = [] if planned.fits else alternatives(recipe, planned)
    if options.json:
        document = planned.document()
        if options.layers:
            document["layers"] = planned.by_layer()
        if not planned.fits:
            document["would_fit"] = [
                {"scheme": other.scheme, "dtype": other.dtype, "sram_total_bytes_about": total}
                for other, total in others
            ]
        print_json(document)
        return 0
    console = Console()
    console.print(plan_view(planned, width=console.width, layers=options.layers))
    if not planned.fits:
        console.print(alternatives_view(others))
    return 0


def step(options: Namespace) -> int:
    """`bench step`."""
    from bench.report.plan_view import step_view
    from bench.stepping import step_on_board, step_on_core

    recipe = recipe_of(options)
    reporter = Reporter()
    if (options.env is None) == (options.board is None):
        raise ConfigError("where? Give --env for an emulated core, or --board for a board of the rack")
    if options.board is None:
        planned = make_plan(recipe, options.env, reporter.say)
        require_fit(recipe, planned)
        run = step_on_core(planned, seed=options.seed, layers=options.layers, witness=options.witness)
    else:
        inventory = rack_inventory(options)
        planned = make_plan(recipe, inventory.board(options.board).env, reporter.say)
        require_fit(recipe, planned)
        with ExitStack() as stack:
            rack = stack.enter_context(
                Rack.open(inventory, [options.board], purpose="bench step", state_dir=options.state)
            )
            run = step_on_board(planned, rack.boards[options.board], seed=options.seed)
    if options.json:
        document = run.document()
        if options.layers:
            document["calls"] = [{"call": call, "instructions": count} for call, count in run.calls]
            document["layers"] = run.by_layer()
        print_json(document)
        return 0
    Console().print(step_view(run, layers=options.layers))
    return 0


def recipe_of(options: Namespace) -> Recipe:
    """The program that the options of `bench step` describe. Raises ConfigError."""
    if options.seed < 0:
        raise ConfigError(f"--seed {options.seed}: 0 or more")
    if options.name is not None and not re.fullmatch("[a-z][a-z0-9_]*", options.name):
        raise ConfigError(f"--name {options.name!r}: a letter, then letters, digits and underscores, all small")
    return Recipe(
        model=options.model,
        scheme=options.scheme,
        dtype=options.dtype,
        batch=options.batch,
        rule=options.rule,
        federated=options.federated,
        loss=options.loss,
        input_shape=shape_of(options.input),
        classes=options.classes,
        calibration=options.calibration,
        seed=options.seed,
        name=options.name,
    )


def shape_of(text: str | None) -> tuple[int, int, int] | None:
    """An input shape as people write it. Raises ConfigError."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 3 or not all(side.isascii() and side.isdigit() and int(side) > 0 for side in sides):
        raise ConfigError(f"--input {text}: height, width and channels, as in 28x28x1")
    return int(sides[0]), int(sides[1]), int(sides[2])


def _check_picture(path: Path | None) -> None:
    """Before anything is compiled. Raises ConfigError."""
    if path is None:
        return
    if path.suffix.lower() not in _PICTURES:
        raise ConfigError(f"--picture {path}: the name's end says what it is: {', '.join(_PICTURES)}")
    if not path.resolve().parent.is_dir():
        raise ConfigError(f"--picture {path}: no folder {path.resolve().parent}")


def _picture(planned: Planned, path: Path) -> None:
    from bench.compiler.memory_map import figure

    arranged, compiled = planned.compiled.arranged, planned.compiled.plan
    title = f"{compiled.model}, {compiled.scheme}, {compiled.dtype}: arena of {compiled.arena_bytes} bytes"
    try:
        figure(arranged.placement, arranged.blocks, title).savefig(path, dpi=130)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the picture cannot be written: {error}") from error
