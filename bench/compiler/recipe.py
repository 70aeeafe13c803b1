"""From what a person says, a model's name or file and a few words, to a program in firmware/generated."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.compiler.compile import (
    Calibration,
    Compiled,
    Settings,
    compile_graph,
    default_name,
    random_calibration,
    write,
)
from bench.compiler.differentiate import Dtype
from bench.errors import ConfigError
from bench.model.graph import Graph, Loss, Shape
from bench.model.onnx_import import load_onnx
from bench.model.plan import FIRMWARE, Rule
from bench.model.zoo import load_zoo, zoo_names

CALIBRATION_SAMPLES = 256
"""Of a calibration file, as many are used: evenly spread over it."""


@dataclass(frozen=True)
class Recipe:
    """A program in words.

    `model` is a zoo name or the path of an ONNX file; `input_shape` (height, width, channels) and `classes` change a
    zoo model; `calibration` is a .npy file of float32 samples [n, h, w, c].
    """

    model: str
    scheme: str = "full"
    dtype: Dtype = "int8"
    batch: int = 1
    rule: Rule | None = None
    federated: bool = False
    loss: Loss | None = None
    input_shape: Shape | None = None
    classes: int | None = None
    calibration: Path | None = None
    seed: int = 0
    name: str | None = None

    @property
    def settings(self) -> Settings:
        """What the compiler is asked for."""
        return Settings(self.scheme, self.dtype, self.batch, self.rule, self.federated)


def check_files(recipe: Recipe) -> None:
    """That the files which a recipe names are there, before any work. Raises ConfigError."""
    if recipe.model not in zoo_names() and not Path(recipe.model).is_file():
        raise ConfigError(
            f"no model {recipe.model!r}: give an ONNX file that exists, or one of {', '.join(zoo_names())}"
        )
    if recipe.calibration is not None and not recipe.calibration.is_file():
        raise ConfigError(f"--calibration {recipe.calibration}: no such file; a .npy file of samples is wanted")


def load_model(recipe: Recipe, notes: list[str] | None = None) -> Graph:
    """The network that a recipe names. `notes` gets what the import assumed or left out.

    Raises:
        ConfigError: no such zoo model or file, or one that cannot be imported.
    """
    if recipe.model in zoo_names():
        graph = load_zoo(recipe.model, input_shape=recipe.input_shape, classes=recipe.classes, seed=recipe.seed)
        return graph if recipe.loss is None else replace(graph, loss=recipe.loss)
    path = Path(recipe.model)
    if path.suffix == ".onnx" or path.exists():
        if recipe.classes is not None:
            raise ConfigError(f"{path}: the number of classes is the file's own: leave it out")
        return load_onnx(path, loss=recipe.loss, input_shape=recipe.input_shape, notes=notes)
    raise ConfigError(f"no model {recipe.model!r}: give an ONNX file, or one of {', '.join(zoo_names())}")


def calibration_of(recipe: Recipe, graph: Graph) -> Calibration:
    """Samples from the recipe's file, or seeded random inputs.

    Raises:
        ConfigError: the file is not float32 samples of the model's shape.
    """
    path = recipe.calibration
    if path is None:
        return random_calibration(graph, recipe.seed)
    try:
        samples = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{path}: not a .npy file of samples: {error}") from error
    if not isinstance(samples, np.ndarray) or samples.dtype.kind not in "fiu":
        raise ConfigError(f"{path}: not a .npy file of real numbers: save one array with numpy.save")
    wanted = ("n", *graph.input_shape)
    if samples.ndim != 4 or samples.shape[1:] != graph.input_shape or len(samples) == 0:
        raise ConfigError(f"{path}: samples of shape {list(samples.shape)}; the model takes {list(wanted)}")
    samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise ConfigError(f"{path}: has values that are not finite")
    chosen = np.linspace(0, len(samples) - 1, min(CALIBRATION_SAMPLES, len(samples))).astype(int)
    return Calibration(samples[chosen], f"{len(chosen)} samples of {path.name}")


def compile_recipe(recipe: Recipe, notes: list[str] | None = None) -> Compiled:
    """Compiles, writes nothing. `notes` gets what the import assumed or left out. Raises ConfigError."""
    graph = load_model(recipe, notes)
    name = recipe.name or default_name(graph.name + _variant(recipe), recipe.settings)
    return compile_graph(graph, recipe.settings, calibration_of(recipe, graph), name)


def _variant(recipe: Recipe) -> str:
    """Tells programs apart that differ by more than model and settings: files of one name, seeds, calibrations.

    Two of one name would overwrite each other, at worst while one is being built.
    """
    asked = (recipe.loss, recipe.input_shape, recipe.classes, recipe.seed)
    files = [path for path in (Path(recipe.model), recipe.calibration) if path is not None and path.is_file()]
    if recipe.model in zoo_names():
        files = files[1:] if files and files[0] == Path(recipe.model) else files
    if not files and asked == (None, None, None, 0):
        return ""
    digest = hashlib.sha256(repr(asked).encode())
    for path in files:
        digest.update(path.read_bytes())
    return f"-{digest.hexdigest()[:6]}"


def make(recipe: Recipe, firmware: Path = FIRMWARE) -> Compiled:
    """Compiles and writes the program's folder. Raises ConfigError."""
    compiled = compile_recipe(recipe)
    write(compiled, firmware)
    return compiled
