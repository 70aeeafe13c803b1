"""The bench's one family of errors, told apart by who has to act.

A user mends a `ConfigError`, the person at the rack an `InfrastructureError`, and the firmware's author a
`DeviceError`. Each message names the file, board or field, and what to do about it.
"""


class BenchError(Exception):
    """Base of every error the bench raises on purpose; `exit_code` is what the command ends with."""

    exit_code = 1


class ConfigError(BenchError):
    """An inventory, experiment, model or command line that cannot be carried out as written."""

    exit_code = 2


class DeviceError(BenchError):
    """A board that answers, but wrongly: a wrong image, a corrupt partition, a refused request, a fault."""

    exit_code = 1


class InfrastructureError(BenchError):
    """The way to a board fails: no probe, a busy port, a flash that does not take, a board that is silent."""

    exit_code = 3
