"""An image on an emulated core, without a debug port: loaded, not flashed, for single measurements.

For every environment that QEMU has a machine of, the MPS2 images among them, which pyOCD cannot flash. The console is a
pseudo-terminal, so that host and image talk as they do on a rack.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.build import project_root
from bench.errors import ConfigError, InfrastructureError
from bench.link.device import Device
from bench.link.port import open_port
from bench.link.session import Session
from bench.meters.counter import PhaseCounter
from bench.meters.witness import Witness
from bench.rack.image import ImageDescriptor
from bench.rack.manifest import BoardManifest, load_manifest
from bench.virtual.emulator import QEMU
from bench.virtual.lifetime import dies_with
from bench.virtual.parts import MACHINES
from bench.virtual.plugin import build_plugin, counter_arguments

_START_S = 20.0
_POLL_S = 0.01
_CACHE = ".plugin"


@dataclass(frozen=True)
class Core:
    """An image that runs. `calls_path` is where the call counter writes, if marks were given."""

    device: Device
    counter: PhaseCounter
    witness: Witness | None
    calls_path: Path | None

    def instructions(self, phase: str) -> int:
        """Instructions executed in a phase since the start. Raises InfrastructureError."""
        return self.counter.read()[phase]


@contextlib.contextmanager
def running(
    env: str,
    image: Path,
    *,
    data: bytes | None = None,
    call_marks: Sequence[int] | None = None,
    witness: bool = False,
) -> Iterator[Core]:
    """Runs an image from reset until the block ends.

    Args:
        env: the PlatformIO environment that it was built for.
        image: firmware.bin.
        data: the data partition.
        call_marks: addresses between which instructions are counted (bench/compiler/marks.py).
        witness: watch every store and the stack pointer (bench/meters/witness.py); takes several times as long.

    Raises:
        ConfigError: no emulator, no such machine, or data that do not fit.
        InfrastructureError: the image does not come up, with what the emulator said.
    """
    manifest = load_manifest(env)
    with tempfile.TemporaryDirectory(prefix="bench-core-") as scratch:
        folder = Path(scratch)
        blob = image.read_bytes()
        flash = folder / "flash.bin"
        flash.write_bytes(_flash(manifest, blob, data))
        command = [QEMU, "-M", env.replace("_", "-"), "-nodefaults", "-display", "none", "-monitor", "none"]
        command += ["-kernel", str(flash), *_console(manifest, folder / "console")]
        descriptor = ImageDescriptor.parse(blob)
        entry = int.from_bytes(blob[4:8], "little") & ~1
        totals = folder / "totals"
        command += ["-plugin", f"{_plugin('phase_counter')},{counter_arguments(descriptor, entry, totals)}"]
        calls = None
        if call_marks is not None:
            calls, marks = folder / "calls", folder / "marks"
            marks.write_text("".join(f"{address:x}\n" for address in call_marks), encoding="ascii")
            command += ["-plugin", f"{_plugin('call_counter')},totals={calls},marks={marks}"]
        watching = None
        if witness:
            watching = Witness(folder / "witness", descriptor)
            command += ["-plugin", f"{_plugin('ram_witness')},{watching.arguments()}"]
        with _process(command, folder / "log") as process:
            device = _connect(folder / "console", manifest, process, folder / "log")
            try:
                yield Core(device, PhaseCounter(totals), watching, calls)
            finally:
                device.session.close()


def _flash(manifest: BoardManifest, image: bytes, data: bytes | None) -> bytes:
    layout = manifest.flash
    if len(image) > layout.image_size or len(data or b"") > layout.data_size:
        raise ConfigError(f"{manifest.env}: image or data are larger than its flash")
    content = bytearray(b"\xff" * layout.size)
    content[: len(image)] = image
    if data is not None:
        start = layout.data_base - layout.base
        content[start : start + len(data)] = data
    return bytes(content)


def _console(manifest: BoardManifest, path: Path) -> list[str]:
    machine = MACHINES.get(manifest.env.replace("_", "-"))
    before = 0 if machine is None else machine.serial_index
    return ["-serial", "null"] * before + ["-chardev", f"pty,id=console,path={path}", "-serial", "chardev:console"]


def _plugin(name: str) -> Path:
    return build_plugin(project_root() / ".bench" / _CACHE, name)


@contextlib.contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=dies_with(os.getpid())
            )
        except FileNotFoundError as error:
            raise ConfigError(f"{QEMU} is missing: install the package qemu-system-arm, 10 or later") from error
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _connect(console: Path, manifest: BoardManifest, process: subprocess.Popen[bytes], log: Path) -> Device:
    """Waits until the emulator has made its console, then until the image answers."""
    deadline = time.monotonic() + _START_S
    while not console.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(encoding="utf-8", errors="replace").strip()
            raise InfrastructureError(f"{QEMU} does not start a {manifest.env}: {said or 'it says nothing'}")
        time.sleep(_POLL_S)
    session = Session(open_port(str(console.resolve()), manifest.baud))
    device = Device(session)
    try:
        device.hello(env=manifest.env, timeout_s=1.0, retries=int(_START_S))
    except BaseException:
        session.close()
        raise
    return device
