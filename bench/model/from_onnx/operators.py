"""The operators taken, by their names in ONNX."""

from __future__ import annotations

from collections.abc import Callable

from bench.model.from_onnx import windows
from bench.model.from_onnx.pointwise import DENSE, POINTWISE
from bench.model.from_onnx.values import Step
from bench.model.from_onnx.views import VIEWS
from bench.model.from_onnx.walk import Walk
from bench.model.graph import AvgPool, MaxPool

WINDOWS: dict[str, Callable[[Walk, Step], None]] = {
    "AveragePool": windows.average_pool,
    "Conv": windows.conv,
    "GlobalAveragePool": windows.global_pool(AvgPool),
    "GlobalMaxPool": windows.global_pool(MaxPool),
    "MaxPool": windows.max_pool,
    "Resize": windows.resize,
    "Upsample": windows.resize,
}
OPERATORS: dict[str, Callable[[Walk, Step], None]] = {
    **DENSE,
    **POINTWISE,
    **VIEWS,
    **WINDOWS,
    "ReduceMax": windows.reduce(MaxPool),
    "ReduceMean": windows.reduce(AvgPool),
}
