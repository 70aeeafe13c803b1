"""The current that a meter recorded: over time, with the phases behind it and what was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from bench.errors import ConfigError
from bench.meters.excerpt import Excerpt
from bench.meters.trace import PHASES
from bench.report.drawing import INK, LIMIT, SERIES, Plot, drawn, how, short_number
from bench.report.view import View, short
from bench.results.store import CURRENTS

_Currents = NDArray[np.float64]

_DRAWN = 500  # a plot is 360 units wide
_SHADE = 0.22
WHATS: Mapping[str, str] = {"step": "training steps", "inference": "inferences", "round": "rounds"}
"""What `bench energy` measures."""


def currents(view: View) -> list[Plot]:
    """A plot of each figure whose recording was kept.

    Raises ConfigError: an excerpt is malformed.
    """
    plots = []
    for number, recorded in enumerate(view.run.currents):
        try:
            excerpt = TypeAdapter(Excerpt).validate_python(recorded["excerpt"])
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in (number, "excerpt", *fault["loc"]))
            raise ConfigError(f"{view.run.folder / CURRENTS}: {where}: {fault['msg']}") from error
        plots += [
            _current(found, recorded["what"], excerpt)
            for found in view.energies
            if recorded["board"] == found["board"] and recorded["what"] in found
        ]
    return plots


def _current(found: Mapping[str, Any], what: str, excerpt: Excerpt) -> Plot:
    kind = how([found["kind"] if found["kind"] == "modelled" else ""])
    at, least, mean, greatest = _coarse(excerpt)
    finite = mean[~np.isnan(mean)]
    lost = sum(excerpt.lost)

    def draw(axes: Axes) -> None:
        for phase, begin, end in sorted(excerpt.spans(_together(excerpt)), key=lambda span: PHASES.index(span[0])):
            axes.axvspan(begin, end, color=SERIES[PHASES.index(phase)], alpha=_SHADE, lw=0)
        axes.fill_between(at, least, greatest, step="post", color=INK, alpha=0.3, lw=0)
        axes.step(at, mean, where="post", color=INK, lw=0.9)
        for begin, end in excerpt.gaps():
            axes.axvspan(begin, max(end, begin + excerpt.seconds / 200), ymin=0.94, color=LIMIT, lw=0)
        axes.set_xlim(0, excerpt.seconds or 1)
        axes.set_ylim(0, 1.12 * float(np.nanmax(greatest)) if len(finite) else 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: short_number(round(value, 6))))
        axes.set_ylabel("mA")
        axes.set_xlabel("seconds of the recording")
        shown = {phase for phase, _, _ in excerpt.spans()}
        handles = [
            Patch(color=SERIES[number], alpha=2 * _SHADE, label=phase)
            for number, phase in enumerate(PHASES)
            if phase in shown
        ]
        if lost:
            handles.append(Patch(color=LIMIT, label="samples lost"))
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 0.985), ncols=4, borderpad=0)
        axes.set_title(f"Current of {found['board']}, {WHATS[what]}{kind}", pad=22)

    told = "nothing arrived"
    if len(finite):
        told = (
            f"{short(float(np.nanmin(least)))} to {short(float(np.nanmax(greatest)))} mA, mean {short(finite.mean())}"
        )
    alt = (
        f"Current of {found['board']} over {short(excerpt.seconds)} s of {WHATS[what]} of {found['program']}{kind}, by "
        f"{found['meter']}: {told}; {lost:,} of {excerpt.samples:,} samples lost; phases by {excerpt.phases_by}: "
        f"{_shares(found[what]['seconds'])}."
    )
    return drawn(f"current-{found['board']}-{what}", alt, 2.7, draw)


def _together(excerpt: Excerpt) -> int:
    """Buckets that are drawn as one."""
    return max(1, -(-excerpt.buckets // _DRAWN))


def _coarse(excerpt: Excerpt) -> tuple[_Currents, _Currents, _Currents, _Currents]:
    """Begin in seconds, least, mean and greatest mA of as many buckets as can be seen."""
    size = _together(excerpt)
    starts = np.arange(0, excerpt.buckets, size, dtype=np.int64)
    least, mean, greatest = (_milliamperes(v) for v in (excerpt.least_ua, excerpt.mean_ua, excerpt.greatest_ua))
    if not len(starts):
        return starts.astype(np.float64), least, mean, greatest
    present = ~np.isnan(mean)
    count = np.add.reduceat(present.astype(int), starts)
    total = np.add.reduceat(np.where(present, mean, 0.0), starts)
    with np.errstate(invalid="ignore"):
        means = np.where(count > 0, total / count, np.nan)
    return (
        starts.astype(np.float64) * excerpt.bucket_s,
        np.fmin.reduceat(least, starts),
        means,
        np.fmax.reduceat(greatest, starts),
    )


def _milliamperes(values: Sequence[float | None]) -> _Currents:
    return np.array([np.nan if value is None else value / 1000 for value in values], dtype=np.float64)


def _shares(seconds: Mapping[str, float]) -> str:
    """Of the figure, since an excerpt's bucket counts wholly for the phase that most of it is in."""
    whole = sum(seconds.values()) or 1.0
    return ", ".join(f"{phase} {seconds[phase] / whole:.0%}" for phase in PHASES if phase in seconds)
