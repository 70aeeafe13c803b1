"""What a run came to, in one document: results.json."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bench.experiment.setting import Setting
from bench.federation.journal import Journal
from bench.project import project_root
from bench.rack.entry import BoardEntry
from bench.rack.manifest import BoardManifest, load_manifest
from bench.rack.probe_identity import ProbeIdentity
from bench.results.table import Measurement

SCHEMA = 1
_FRAMED_BYTES = 4096
_FRAMING_LIMIT = 3.0  # per cent


def document(
    setting: Setting,
    run: str,
    rows: Sequence[Measurement],
    journal: Journal,
    started: datetime,
    command: str,
    probes: Mapping[str, ProbeIdentity],
) -> dict[str, Any]:
    """The run's document; `rows` are all of its measurements, `probes` what the boards' probes said of themselves."""
    experiment = setting.experiment
    return {
        "schema": SCHEMA,
        "run": run,
        "experiment": experiment.model_dump(mode="json"),
        "command": command,
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": experiment.seed,
        "environment": environment(),
        "rack": str(setting.inventory.path),
        "boards": [_board(setting, entry.name, probes.get(entry.name, ProbeIdentity())) for entry in setting.entries],
        "variants": {variant.name: _variant(setting, variant.name) for variant in experiment.model.variants},
        "summary": {"accuracy": final_accuracies(rows)},
        "dropped": journal.events("dropped"),
        "recoveries": journal.events("recovery"),
        "checks": checks(setting, rows),
    }


def final_accuracies(rows: Sequence[Measurement]) -> dict[str, float]:
    """Accuracy of each variant on the test set after its last round."""
    last: dict[str, Measurement] = {}
    for row in rows:
        if row.metric == "accuracy" and (row.variant not in last or row.round >= last[row.variant].round):
            last[row.variant] = row
    return {name: row.value for name, row in last.items()}


def checks(setting: Setting, rows: Sequence[Measurement]) -> list[dict[str, Any]]:
    """The experiment's targets against what was reached. A target whose sides were not run is not checked."""
    accuracy = final_accuracies(rows)
    targets = setting.experiment.targets
    variants = [variant.name for variant in setting.experiment.model.variants]
    found: list[dict[str, Any]] = [_both_ends(rows), *_framing(setting, rows)]
    if "accuracy" in targets:
        limit = targets["accuracy"]
        found += [_check(f"accuracy of {name}", accuracy[name], limit, at_least=True) for name in variants]
    if "central_gap_points" in targets:
        for name in variants:
            if f"{name}_central" in accuracy:
                gap = 100 * (accuracy[f"{name}_central"] - accuracy[name])
                found.append(_check(f"points of {name} behind central", gap, targets["central_gap_points"]))
    if "variant_gap_points" in targets and len(variants) > 1:
        for name in variants[1:]:
            gap = 100 * (accuracy[name] - accuracy[variants[0]])
            found.append(_check(f"points of {variants[0]} behind {name}", gap, targets["variant_gap_points"]))
    return found


def _both_ends(rows: Sequence[Measurement]) -> dict[str, Any]:
    """Bytes that hosts and boards counted differently in rounds in which nothing was lost or sent again."""
    disturbed = {
        (row.variant, row.client, row.round)
        for row in rows
        if row.metric in ("retransmitted_up", "retransmitted_down") and row.value > 0
    }
    difference = sum(
        row.value
        for row in rows
        if row.metric == "wire_difference" and (row.variant, row.client, row.round) not in disturbed
    )
    return _check("bytes on the wire that host and boards count differently", difference, 0)


def _framing(setting: Setting, rows: Sequence[Measurement]) -> list[dict[str, Any]]:
    """What framing adds to a model of 4 KB and more in the direction in which it travels: the worst of all rounds."""
    found = []
    for variant in setting.experiment.model.variants:
        if setting.experiment.update_of(variant) is not None:
            continue  # what travels coded is as long as it happens to be
        plan = setting.engines[variant.name].plan
        for way, size in (("down", plan.down_bytes), ("up", plan.up_bytes)):
            phase = "download" if way == "down" else "upload"
            wire = [
                row.value
                for row in rows
                if row.variant == variant.name and row.phase == phase and row.metric == f"wire_{way}"
            ]
            if wire and size >= _FRAMED_BYTES:
                name = f"per cent of framing on the {variant.name} model on its way {way}"
                found.append(_check(name, 100 * (max(wire) - size) / size, _FRAMING_LIMIT))
    return found


def _check(name: str, value: float, limit: float, *, at_least: bool = False) -> dict[str, Any]:
    sign = "at least" if at_least else "at most"
    passed = value >= limit if at_least else value <= limit
    return {"name": name, "passed": passed, "value": value, "limit": limit, "detail": f"{value:.4g}, {sign} {limit:g}"}


def _board(setting: Setting, name: str, probe: ProbeIdentity) -> dict[str, Any]:
    entry = setting.inventory.board(name)
    manifest = load_manifest(entry.env)
    return {
        "name": name,
        "env": entry.env,
        "core": manifest.core,
        "has_fpu": manifest.has_fpu,
        "ram_bytes": manifest.ram.size,
        "core_hz": manifest.core_hz,
        "baud": entry.baud,
        "physical": entry.virtual is None,
        "probe": entry.probe,
        "probe_product": probe.product,
        "probe_firmware": probe.firmware,
        "supply": _supply(entry, manifest, probe),
        "energy_source": manifest.energy.source,
        "clients": list(setting.cohort.holdings[name]),
        "samples": sum(len(setting.cohort.shards[client]) for client in setting.cohort.holdings[name]),
    }


def _supply(entry: BoardEntry, manifest: BoardManifest, probe: ProbeIdentity) -> str:
    """What feeds a board, and how many volts: set by the meter that feeds it, else as the inventory says or the probe
    sees, to a tenth, for the same board is to be the same in each run."""
    meter = entry.meter
    if meter is None or meter.kind == "modelled":
        return "" if probe.target_v is None else f"{probe.target_v:.1f} V at the probe"
    millivolts = meter.voltage_mv
    if millivolts is None and meter.supply == "meter":
        millivolts = round(manifest.energy.supply_v * 1000)
    if millivolts is None:
        volts = "" if probe.target_v is None else f", {probe.target_v:.1f} V at the probe"
    else:
        volts = f", {millivolts} mV"
    return f"{meter.kind}, {meter.supply}{volts}"


def _variant(setting: Setting, name: str) -> dict[str, Any]:
    plan, experiment = setting.engines[name].plan, setting.experiment
    variant = next(variant for variant in experiment.model.variants if variant.name == name)
    return {
        **plan.identity(),
        "arena_bytes": plan.arena_bytes,
        "memory": {
            "calls": len(plan.calls),
            "lower_bound_bytes": plan.lower_bound_bytes,
            "blocks": [block.model_dump() for block in plan.blocks],
        },
        "strategy": experiment.section_of(variant)["strategy"],
        "update": None if (update := experiment.update_of(variant)) is None else update.model_dump(),
        "params_bytes": plan.params_bytes,
        "down_bytes": plan.down_bytes,
        "macs_forward": plan.macs_forward,
        "macs_backward": plan.macs_backward,
        "clients": {seat.client: {"board": seat.board, "samples": seat.count} for seat in setting.cohort.seats[name]},
    }


def environment() -> dict[str, Any]:
    """Versions of what a run was made with."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "bench": _version("ftte-bench"),
        "pyocd": _version("pyocd"),
        "platformio": _version("platformio"),
        "qemu": _first_line("qemu-system-arm", "--version"),
        "compiler": _first_line("arm-none-eabi-g++", "--version"),
        "revision": _first_line("git", "-C", str(project_root()), "rev-parse", "HEAD"),
        "dirty": _first_line("git", "-C", str(project_root()), "status", "--porcelain") is not None,
        "argv": sys.argv,
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _first_line(*command: str) -> str | None:
    """First line that a command prints; None when it is absent, fails or prints nothing."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL, check=False)
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None
