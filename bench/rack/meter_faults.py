"""What can be wrong with a board's meter in the inventory, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.rack.manifest import environments, load_manifest

if TYPE_CHECKING:
    from bench.rack.entry import BoardEntry, Meter

# As the instruments' manuals say: bench/meters has them in one module each, which need the instruments' packages.
_VOLTAGES_MV = {"ppk2": (800, 5000), "lpm01a": (1800, 3300)}
_CURRENT_LIMITS_MA = {"lpm01a": 50.0}
_CHANNELS = {"ppk2": 8, "lpm01a": 0, "joulescope": 2}

Fault = tuple[tuple[str, ...], str]


def meter_faults(meter: Meter, entry: BoardEntry) -> Iterator[Fault]:
    """Where in the board's entry, and what."""
    if meter.kind == "modelled":
        given = sorted(meter.model_fields_set - {"kind"})
        if given:
            yield (
                ("meter", given[0]),
                "kind `modelled` has no instrument: leave this out, or name the instrument's kind",
            )
        return
    yield from _reach_faults(meter, entry)
    yield from _voltage_faults(meter, entry)
    yield from _channel_faults(meter)
    limit = _CURRENT_LIMITS_MA.get(meter.kind)
    if limit is not None and entry.env in environments() and load_manifest(entry.env).energy.run_ma > limit:
        yield ("meter", "kind"), f"{meter.kind} measures {limit:g} mA at most, and {entry.env} draws more: use a ppk2"


def _reach_faults(meter: Meter, entry: BoardEntry) -> Iterator[Fault]:
    if meter.virtual is not None:
        if meter.kind == "joulescope":
            yield ("meter", "virtual"), "there is no virtual joulescope: choose ppk2 or lpm01a"
        if entry.virtual is None:
            yield ("meter", "virtual"), "a real board draws no current that a virtual meter could see: name its `port`"
        if meter.port:
            yield ("meter", "port"), "a virtual meter's port is made when it starts; leave the field out"
    elif entry.virtual is not None:
        yield ("meter",), "a virtual board draws no current: give it a virtual meter, with `virtual: {}`"
    elif not meter.port and meter.kind != "joulescope":
        yield ("meter",), "`port` is missing; name the meter's serial port, best by its /dev/serial/by-id path"


def _voltage_faults(meter: Meter, entry: BoardEntry) -> Iterator[Fault]:
    if meter.kind == "joulescope":
        if "supply" in meter.model_fields_set and meter.supply == "meter":
            yield ("meter", "supply"), "a joulescope feeds nothing: say `external`, or leave the field out"
        return
    low, high = _VOLTAGES_MV[meter.kind]
    if meter.kind == "lpm01a" and meter.supply == "external":
        yield ("meter", "supply"), "an lpm01a feeds the board itself: say `meter`, or leave the field out"
    if meter.voltage_mv is None:
        if entry.virtual is None:
            yield ("meter",), "`voltage_mv` is missing; say it, for a wrong voltage destroys a board"
    elif not low <= meter.voltage_mv <= high:
        yield ("meter", "voltage_mv"), f"{meter.kind} has {low} to {high} mV"
    elif meter.supply == "meter" and entry.env in environments():
        bears = load_manifest(entry.env).energy.supply_range_v
        if bears is not None and not 1000 * bears[0] <= meter.voltage_mv <= 1000 * bears[1]:
            yield (
                ("meter", "voltage_mv"),
                f"{meter.voltage_mv} mV: the meter feeds {entry.env}, which needs {bears[0]:g} V, and more than "
                f"{bears[1]:g} V destroys it",
            )


def _channel_faults(meter: Meter) -> Iterator[Fault]:
    channels = _CHANNELS[meter.kind]
    if not channels:
        given = [name for name in ("marker", "line") if name in meter.model_fields_set and getattr(meter, name)]
        for name in given:
            yield ("meter", name), f"an {meter.kind} samples no logic channels: leave the field out"
        return
    wired = [*([] if meter.marker is None else [meter.marker]), *meter.line]
    if len(set(wired)) != len(wired):
        yield ("meter", "line"), "marker and lines are on different channels"
    for channel in wired:
        if channel >= channels:
            yield ("meter", "line"), f"{meter.kind} has the channels 0 to {channels - 1}, not {channel}"
