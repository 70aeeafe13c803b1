"""What a debug probe says of itself: product, firmware, and the voltage that it sees at the target.

Asked through pyOCD, in a process of its own as all that talks to probes: one that hangs cannot take the bench along.
The probe is opened, but no board is connected to, halted or reset. What a probe does not tell stays empty: a remote one
(`pyocd server`) has no more than its product's name.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench import process
from bench.rack.board import Board

_TIMEOUT_S = 30.0
_ANSWER = "probe identity: "
_FIRMWARE_OF_REMOTE = "firmware_version"
"""A property that emulated probes have; pyOCD's own server refuses it."""


@dataclass(frozen=True)
class ProbeIdentity:
    """`target_v` is None where the probe does not measure it."""

    product: str = ""
    firmware: str = ""
    target_v: float | None = None


def identities(boards: Iterable[Board]) -> dict[str, ProbeIdentity]:
    """Of the boards' probes, by board; the empty identity where a probe cannot be asked, with the reason in the log."""
    asked = list(boards)
    if not asked:
        return {}
    probes = list(dict.fromkeys(board.ends.probe for board in asked))
    try:
        output = process.run([sys.executable, "-m", "bench.rack.probe_identity", *probes], timeout_s=_TIMEOUT_S).output
    except process.NotEndedError as error:
        output = error.output
    told = _answers(output)
    found = {}
    for board in asked:
        answer = dict(told.get(board.ends.probe, {"error": f"not told within {_TIMEOUT_S:g} s: {output.strip()}"}))
        if "error" in answer:
            board.log(f"the probe's firmware is not known: {answer.pop('error')}")
        found[board.name] = ProbeIdentity(**answer)
    return found


def _answers(output: str) -> dict[str, Mapping[str, Any]]:
    """By probe, of those that answered: a line each, between what libraries print."""
    told: dict[str, Mapping[str, Any]] = {}
    for line in output.splitlines():
        if line.startswith(_ANSWER):
            try:
                told |= json.loads(line.removeprefix(_ANSWER))
            except ValueError:  # cut off
                continue
    return told


def identity(probe: Any) -> ProbeIdentity:
    """Of one of pyOCD's probes that is open."""
    from pyocd.probe.cmsis_dap_probe import CMSISDAPProbe
    from pyocd.probe.jlink_probe import JLinkProbe
    from pyocd.probe.stlink_probe import StlinkProbe
    from pyocd.probe.tcp_client_probe import TCPClientProbe

    firmware: str | None = ""
    target_v: float | None = None
    link: Any = getattr(probe, "_link", None)  # pyOCD shows these of no probe, except in its log
    if isinstance(probe, StlinkProbe):
        firmware, target_v = link.version_str, link.target_voltage
    elif isinstance(probe, JLinkProbe):
        firmware, target_v = link.firmware_version, link.hardware_status.voltage / 1000
    elif isinstance(probe, CMSISDAPProbe):
        firmware = (
            getattr(link, "_fw_version", None) or f"CMSIS-DAP {link.identify(link.ID.CMSIS_DAP_PROTOCOL_VERSION)}"
        )
    elif isinstance(probe, TCPClientProbe):
        firmware = _remote_firmware(probe)
    return ProbeIdentity(probe.product_name or "", firmware or "", None if not target_v else round(target_v, 3))


def _remote_firmware(probe: Any) -> str:
    from pyocd.core.exceptions import Error

    try:
        return str(probe._read_property(_FIRMWARE_OF_REMOTE))
    except Error:
        return ""


def _ask(uid: str) -> Mapping[str, Any]:
    """The answer for one probe, or why there is none."""
    from pyocd.core.session import Session
    from pyocd.probe.aggregator import DebugProbeAggregator

    try:
        probes = DebugProbeAggregator.get_all_connected_probes(uid)
        if len(probes) != 1:
            return {"error": f"{len(probes)} probes match {uid}"}
        probe = probes[0]
        probe.session = Session(None, no_config=True)  # of options alone
        probe.open()
        try:
            return asdict(identity(probe))
        finally:
            probe.close()
    except Exception as error:  # each kind of probe has its own: USB, pylink, pyOCD, sockets
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    for uid in sys.argv[1:]:  # one that hangs is to cost no other its answer
        print(f"\n{_ANSWER}{json.dumps({uid: _ask(uid)})}", flush=True)
    os._exit(0)  # a USB library may not want to end
