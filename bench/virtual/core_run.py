"""An image on an emulated core, without a debug port: loaded, not flashed, for single measurements.

For every environment that QEMU has a machine of, the MPS2 images among them, which pyOCD cannot flash, and for those
that Unicorn executes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import ConfigError, InfrastructureError
from bench.link.device import Device
from bench.link.port import open_port
from bench.link.session import Session
from bench.meters.counter import PhaseCounter
from bench.meters.witness import Witness
from bench.project import project_root
from bench.rack.image import ImageDescriptor
from bench.rack.manifest import BoardManifest, load_manifest
from bench.virtual.emulator import QEMU
from bench.virtual.lifetime import dies_with
from bench.virtual.paced_port import PacedPort
from bench.virtual.parts import MACHINES
from bench.virtual.plugin import build_plugin, counter_arguments
from bench.virtual.rack import VirtualRack
from bench.virtual.spec import VirtualBoardSpec

_START_S = 20
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
    machine = MACHINES.get(env.replace("_", "-"))
    if machine is not None and machine.part.emulator == "unicorn":
        if call_marks is not None or witness:
            raise ConfigError(
                f"{env}: layers and witness are plug-ins of QEMU, which has no {machine.part.name}: take another "
                f"environment with its core, {manifest.core}, such as mps2_an386"
            )
        with _on_unicorn(manifest, image.read_bytes(), data) as core:
            yield core
        return
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-core-")))
        blob = image.read_bytes()
        flash = folder / "flash.bin"
        flash.write_bytes(_flash(manifest, blob, data))
        command = [QEMU, "-M", env.replace("_", "-"), "-nodefaults", "-display", "none", "-monitor", "none"]
        console = stack.enter_context(_listener())
        command += ["-kernel", str(flash), *_console(manifest, console)]
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
        process = stack.enter_context(_process(command, console, folder / "log"))
        url = f"socket://127.0.0.1:{console.getsockname()[1]}"
        device = stack.enter_context(contextlib.closing(_connect(url, manifest, process, folder / "log")))
        yield Core(device, PhaseCounter(totals), watching, calls)


@contextlib.contextmanager
def _on_unicorn(manifest: BoardManifest, image: bytes, data: bytes | None) -> Iterator[Core]:
    """A whole virtual board, whose flash has these contents when it is switched on."""
    with tempfile.TemporaryDirectory(prefix="bench-core-") as folder, contextlib.ExitStack() as stack:
        state = Path(folder)
        (state / "core").mkdir()
        (state / "core" / "flash.bin").write_bytes(_flash(manifest, image, data))
        rack = stack.enter_context(VirtualRack([VirtualBoardSpec.for_env("core", manifest.env)], state))
        end = rack.endpoints["core"]
        assert end.counter is not None
        session = stack.enter_context(contextlib.closing(Session(open_port(end.serial, manifest.baud))))
        device = Device(session)
        try:
            device.hello(env=manifest.env, timeout_s=1.0, retries=_START_S)
        except InfrastructureError as error:
            said = end.log.read_text(encoding="utf-8", errors="replace").strip()
            raise InfrastructureError(f"{manifest.env} does not come up: {said[-1000:]}") from error
        yield Core(device, PhaseCounter(end.counter), None, None)


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


def _listener() -> socket.socket:
    """What the emulator takes its console's connection from: made here, so that its port is known and is ours alone."""
    return socket.create_server(("127.0.0.1", 0), backlog=1)


def _console(manifest: BoardManifest, listener: socket.socket) -> list[str]:
    machine = MACHINES.get(manifest.env.replace("_", "-"))
    before = 0 if machine is None else machine.serial_index
    chardev = f"socket,id=console,fd={listener.fileno()},server=on,wait=on"
    return ["-serial", "null"] * before + ["-chardev", chardev, "-serial", "chardev:console"]


def _plugin(name: str) -> Path:
    return build_plugin(project_root() / ".bench" / _CACHE, name)


@contextlib.contextmanager
def _process(command: Sequence[str], console: socket.socket, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[console.fileno()],
                preexec_fn=dies_with(os.getpid()),
            )
        except FileNotFoundError as error:
            raise ConfigError(f"{QEMU} is missing: install the package qemu-system-arm, 10 or later") from error
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _connect(url: str, manifest: BoardManifest, process: subprocess.Popen[bytes], log: Path) -> Device:
    """The emulator waits for its console's connection, then the image boots and answers."""
    try:
        port = open_port(url, manifest.baud)
    except InfrastructureError as error:
        raise _silent(manifest, log) from error
    session = Session(PacedPort(port) if manifest.family == "nrf51" else port)
    device = Device(session)
    try:
        device.hello(env=manifest.env, timeout_s=1.0, retries=_START_S)
    except BaseException as error:
        session.close()
        if isinstance(error, InfrastructureError) and process.poll() is not None:
            raise _silent(manifest, log) from error
        raise
    return device


def _silent(manifest: BoardManifest, log: Path) -> InfrastructureError:
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    return InfrastructureError(f"{QEMU} does not run a {manifest.env}: {said or 'it says nothing'}")
