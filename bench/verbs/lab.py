"""`bench rack doctor` and `bench rack discover`: a lab's first day."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from bench.errors import ConfigError, InfrastructureError
from bench.progress import Reporter
from bench.rack.discover import inventory_text, list_probes, pair, unpaired_ports
from bench.rack.doctor import examination
from bench.rack.doctor.finding import Finding, Level, exit_code
from bench.rack.doctor.usb import Machine
from bench.rack.inventory import load_inventory
from bench.results.files import write_atomically
from bench.verbs.options import Verbs, common, rack_inventory, with_examples
from bench.verbs.output import print_json

_DOCTOR_HELP = """\
Without hardware: each kind of board's pins, clock, UART clock, baud rate, register addresses, flash map, linker script,
time-outs and debugger target, against tables made from the data sheets (bench/rack/doctor/parts) and the SVD files that
pyOCD ships. With hardware: probes, serial ports, rights and udev rules, then each board through its probe and its line.

examples:
  bench rack doctor hosts/lab.yaml                  errors and warnings, each with how to mend it
  bench rack doctor hosts/lab.yaml --hardware       on the lab's own machine: boards that are missing are errors
  bench rack doctor hosts/lab.example.yaml --tables --notes   without any hardware, and what was found to be well

exit codes: 0 no errors, 1 errors in the tables or on a board, 3 a board cannot be reached
"""


def add(actions: Verbs) -> None:
    """To the actions of `bench rack`."""
    doctor_ = actions.add_parser("doctor", help="what is wrong with the boards, and how to mend it",
                                **with_examples(_DOCTOR_HELP))  # fmt: skip
    doctor_.add_argument("inventory", nargs="?", type=Path, metavar="INVENTORY", help="as --rack")
    doctor_.add_argument("--board", action="append", metavar="BOARD", help="may be repeated; all boards if absent")
    doctor_.add_argument("--tables", action="store_true", help="only what needs no hardware")
    doctor_.add_argument(
        "--hardware", action="store_true", help="the boards should be here: what is missing is an error"
    )
    doctor_.add_argument("--notes", action="store_true", help="show what is well, too")
    doctor_.set_defaults(call=doctor)
    discover_ = actions.add_parser("discover", help="write an inventory of what is plugged in")
    discover_.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")
    discover_.add_argument("--force", action="store_true", help="overwrite FILE")
    discover_.set_defaults(call=discover)
    for action in (doctor_, discover_):
        common(action)


def doctor(options: Namespace) -> int:
    """`bench rack doctor`: 0 without errors, 3 when a way to a board is at fault, 1 for any other error."""
    inventory = rack_inventory(options) if options.inventory is None else load_inventory(options.inventory)
    entries = inventory.select(options.board)
    reporter = Reporter()
    findings: list[Finding] = []

    def take(finding: Finding) -> None:
        findings.append(finding)
        if not options.json and (finding.level is not Level.NOTE or options.notes):
            print(finding, flush=True)

    for finding in examination.tables(entries):
        take(finding)
    if not options.tables:
        found = examination.hardware(
            inventory, entries, expected=options.hardware, state_dir=options.state, step=reporter.say
        )
        for finding in found:
            take(finding)
    counts = {level.name.lower() + "s": sum(f.level is level for f in findings) for level in reversed(Level)}
    code = exit_code(findings)
    if options.json:
        document = {"rack": str(inventory.path), **counts, "findings": [finding.document() for finding in findings]}
        print_json(document)
        return code
    if all(entry.virtual is not None for entry in entries):
        print("All of these boards are emulated; `bench rack discover --output FILE` describes real ones")
    told = ", ".join(f"{number} {name}" for name, number in counts.items())
    print(f"{inventory.path}: {len(entries)} boards: {told}" + ("" if options.notes else " (--notes shows them)"))
    return code


def discover(options: Namespace) -> int:
    """`bench rack discover`."""
    if options.output is not None and options.output.exists() and not options.force:
        raise ConfigError(f"{options.output}: exists already; give another name, or --force to overwrite it")
    machine = Machine()
    devices = machine.usb_devices()
    probes = list_probes()
    found, ports = pair(probes, devices, machine), unpaired_ports(probes, devices, machine)
    text = inventory_text(found, ports)
    if options.output is not None:
        try:
            write_atomically(options.output, text.encode())
        except OSError as error:
            raise InfrastructureError(f"{options.output}: cannot be written: {error.strerror}") from error
        if any(one.env and one.serial for one in found):
            load_inventory(options.output)
    boards = [{"probe": o.probe.uid, "serial": o.serial, "env": o.env, "choices": list(o.choices)} for o in found]
    if options.json:
        document = {"boards": boards, "ports": [path for path, _ in ports], "output": options.output}
        print_json(document)
    elif options.output is None:
        print(text, end="", flush=True)
    else:
        print(f"{options.output}: {len(found)} probes, {len(ports)} further serial ports; look it over, then ")
        print(f"`bench rack doctor {options.output}`", flush=True)
    return 0
