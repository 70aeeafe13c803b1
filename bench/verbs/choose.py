"""`bench choose`: which parameters are worth training within a board's memory."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.compiler.recipe import Recipe, load_model
from bench.errors import ConfigError
from bench.model.graph import Graph
from bench.model.zoo import zoo_names
from bench.progress import Reporter
from bench.project import cache_folder
from bench.rack.manifest import BoardManifest, load_manifest
from bench.results.files import check_writable, write_atomically
from bench.selection.contribution import Contribution, contributions
from bench.selection.groups import Group, groups_of, parameters
from bench.selection.pick import Pick, pick
from bench.selection.tasks import from_fashion_mnist, from_file, pretrained
from bench.verbs.model import shape_of
from bench.verbs.options import Verbs, common, with_examples
from bench.verbs.output import print_json

_PRETRAINING = 20_000
"""Steps that a zoo model, whose weights are random, gets unless told otherwise."""

_EXAMPLES = """\
Trains each parameter group (a layer's bias, or the weights of some of its input channels) alone on the host-compiled
engine, and looks for the subset with the greatest sum of gains whose planned SRAM, federation state included, fits.

examples:
  bench choose lenet-5 --input 28x28x1 --budget 65536 --most 25
  bench choose mine.onnx --data public.npz --env microbit --output mine.toml
  bench plan mine.onnx --scheme sparse:mine.toml --env microbit
"""


def add(verbs: Verbs) -> None:
    """The verb."""
    choose_ = verbs.add_parser(
        "choose",
        help="find out which parameters are worth training, and choose the best of them that fit a board",
        **with_examples(_EXAMPLES),
    )
    choose_.add_argument("model", help=f"an ONNX file, or one of {', '.join(zoo_names())}")
    choose_.add_argument("--env", default="netduinoplus2", metavar="ENV",
                        help="the weakest kind of board of the cohort; default: %(default)s")  # fmt: skip
    choose_.add_argument("--budget", type=int, metavar="BYTES", help="of its RAM, instead of all of it")
    choose_.add_argument("--most", type=float, metavar="PERCENT", help="of the parameters, at most")
    choose_.add_argument("--dtype", choices=("int8", "float32"), default="int8")
    choose_.add_argument("--data", type=Path, metavar="FILE.npz",
                        help="samples: x float [n, h, w, c] and y [n]; default: Fashion-MNIST as strange sensors see "
                        "it")  # fmt: skip
    choose_.add_argument("--input", metavar="HxWxC", help="another input shape of a zoo model")
    choose_.add_argument("--steps", type=int, default=2000, metavar="N",
                        help="that each group is trained alone; default: %(default)s")  # fmt: skip
    choose_.add_argument("--rate", type=float, default=0.01, help="learning rate; default: %(default)s")
    choose_.add_argument("--pretrain", type=int, metavar="N",
                        help="float32 steps before; default: 20000 for a zoo model, none for a file")  # fmt: skip
    choose_.add_argument("--seed", type=int, default=0)
    choose_.add_argument(
        "--output", type=Path, metavar="FILE.toml", help="write the scheme, for --scheme sparse:FILE.toml"
    )
    choose_.set_defaults(call=choose)
    common(choose_)


def choose(options: Namespace) -> int:
    """`bench choose`."""
    reporter = Reporter()
    manifest = _checked(options)
    graph = load_model(Recipe(options.model, input_shape=shape_of(options.input), seed=options.seed))
    public = from_file(options.data, graph, options.seed) if options.data else from_fashion_mnist(graph, options.seed)
    steps = options.pretrain
    if steps is None:
        steps = _PRETRAINING if options.model in zoo_names() else 0
    if steps:
        reporter.say(f"pretraining {graph.name}: {steps} float32 steps")
    graph = pretrained(graph, public.pretrain, steps, options.rate, options.seed)
    budget = manifest.ram.size if options.budget is None else options.budget
    groups = groups_of(graph)
    reporter.say(f"training each of {len(groups)} groups alone, {options.steps} steps")
    task, cache = public.task(options.steps, options.rate, options.seed), cache_folder("selection")
    with reporter:
        found = contributions(
            graph, groups, task, cache, options.dtype, lambda done, total: reporter.count("groups", done, total)
        )
    most = None if options.most is None else int(graph.parameters * options.most / 100)
    chosen = pick(graph, {c.group: c.gain for c in found}, manifest, budget, options.dtype, most, reporter.say)
    if options.output is not None:
        write_atomically(options.output, scheme_text(chosen.selection.groups).encode())
    document = _document(graph, options.env, budget, found, chosen, options.output)
    if options.json:
        print_json(document)
    else:
        _show(graph, document)
    return 0


def _checked(options: Namespace) -> BoardManifest:
    """The board; all that can be refused before minutes of training is. Raises ConfigError, naming the option."""
    manifest = load_manifest(options.env)
    pretrain = 0 if options.pretrain is None else options.pretrain
    if pretrain < 0 or options.steps < 1:
        raise ConfigError(f"--pretrain {pretrain}, --steps {options.steps}: 0 or more, and 1 or more")
    if options.budget is not None and options.budget < 1:
        raise ConfigError(f"--budget {options.budget}: bytes of RAM, 1 or more")
    if options.most is not None and not 0 < options.most <= 100:
        raise ConfigError(f"--most {options.most:g}: per cent of the parameters, above 0 and at most 100")
    if options.output is not None:
        check_writable(options.output)
    return manifest


def scheme_text(groups: Sequence[Group]) -> str:
    """A scheme file (`--scheme sparse:FILE.toml`) that trains these groups."""
    layers: dict[str, dict[str, Any]] = {}
    for group in groups:
        entry = layers.setdefault(group.layer, {"bias": "false", "channels": 0})
        if group.channels == 0:
            entry["bias"] = "true"
        else:
            entry["channels"] = group.channels
    parts = [
        f'[[layer]]\nname = "{name}"\nbias = {e["bias"]}\nchannels = {e["channels"]}\n' for name, e in layers.items()
    ]
    return "\n".join(parts)


def _document(
    graph: Graph, env: str, budget: int, found: Sequence[Contribution], chosen: Pick, output: Path | None
) -> dict[str, Any]:
    selection = chosen.selection
    measured = {c.group: c for c in found}
    return {
        "model": graph.name,
        "env": env,
        "budget_bytes": budget,
        "scheme": selection.scheme,
        "file": None if output is None else str(output),
        "parameters": selection.parameters,
        "of_parameters": graph.parameters,
        "sram_total_bytes": chosen.planned.footprint.total_bytes,
        "sram_federation_bytes": chosen.bytes - chosen.planned.footprint.total_bytes,
        "gain": selection.gain,
        "gain_bound": selection.bound,
        "groups": [
            {
                "group": group.text,
                "parameters": parameters(graph, group),
                "chosen": group in selection.groups,
                **_measured(measured.get(group)),
            }
            for group in sorted({*measured, *selection.groups}, key=_order(graph))
        ],
    }


def _order(graph: Graph) -> Callable[[Group], tuple[int, int]]:
    layers = [node.name for node in graph.convs]
    return lambda group: (layers.index(group.layer), group.channels)


def _measured(of: Contribution | None) -> dict[str, float | None]:
    """None for a group that the search cut to fit, between two that were measured."""
    names = ("gain", "accuracy_before", "accuracy_after")
    return {name: None if of is None else getattr(of, name) for name in names}


def _show(graph: Graph, document: dict[str, Any]) -> None:
    table = Table(title=f"{graph.name}: what each group is worth alone")
    for name in ("group", "parameters", "loss falls by", "accuracy", "chosen"):
        table.add_column(name, justify="left" if name == "group" else "right")
    for row in document["groups"]:
        figures = ("cut to fit", "")
        if row["gain"] is not None:
            figures = (f"{row['gain']:.3f}", f"{row['accuracy_before']:.3f} → {row['accuracy_after']:.3f}")
        table.add_row(row["group"], str(row["parameters"]), *figures, "yes" if row["chosen"] else "")
    console = Console()
    console.print(table)
    taken = document["sram_total_bytes"] + document["sram_federation_bytes"]
    console.print(
        f"trains {document['parameters']} of {document['of_parameters']} parameters in {taken} of "
        f"{document['budget_bytes']} bytes, of which {document['sram_federation_bytes']} are the federation's; sum of "
        f"gains {document['gain']:.3f}, no subset's is above {document['gain_bound']:.3f}",
        highlight=False,
    )
    console.print(f"--scheme {document['scheme']}", highlight=False, soft_wrap=True)
