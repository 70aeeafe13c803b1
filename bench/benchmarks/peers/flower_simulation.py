"""Flower's simulation engine with PyTorch: `python -m bench.benchmarks.peers.flower_simulation CASE OUTPUT`.

One worker with one thread on each core, which is what its documentation advises for clients that need no more. The
time is taken inside the ServerApp, so that starting Ray does not count; nothing is aggregated or evaluated. Rounds have
many clients, because Flower looks for messages ten times a second only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from . import flower_client
from .case import Case, Weights, check, load
from .measure import measure, processes_seconds
from .torch_loop import from_torch, to_torch

NODES = 100


class Server:
    """Sends the same weights to every node and waits for all of theirs."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.document: dict[str, Any] = {}

    def main(self, grid: Grid, _context: Context) -> None:
        """The ServerApp: checks, then measures."""
        case = self._case
        nodes: list[int] = []
        while len(nodes) < NODES:  # they register while this runs
            time.sleep(0.05)
            nodes = list(grid.get_node_ids())
        record = ArrayRecord([tensor.numpy() for tensor in to_torch(case.start)])

        def round_() -> list[Message]:
            content = RecordDict({flower_client.ARRAYS: record})
            replies = list(grid.send_and_receive([Message(content, node, "train") for node in nodes]))
            failed = [reply for reply in replies if reply.has_error()]
            if failed or len(replies) != len(nodes):
                reason = failed[0].error.reason if failed else "replies are missing"
                raise SystemExit(f"{len(failed)} of {len(nodes)} clients failed: {reason}")
            return replies

        def run(count: int) -> None:
            for _ in range(count):
                round_()

        distance = _check(case, round_())
        times = measure(run, most=20, updates=len(nodes), repeats=case.repeats, seconds=case.seconds,
                        processor=processes_seconds)  # fmt: skip
        self.document = {"runs": [{"threads": os.cpu_count() or 1, "distance": distance, **times}]}


def _check(case: Case, replies: list[Message]) -> dict[str, float]:
    """Nodes have random ids, so replies say which client they are of."""
    found: dict[int, Weights] = {}
    for reply in replies:
        arrays = reply.content[flower_client.ARRAYS].to_numpy_ndarrays()
        client = int(reply.content[flower_client.METRICS][flower_client.CLIENT])
        found[client] = from_torch([torch.from_numpy(array.copy()) for array in arrays], case.start)
    return check(case, [found[client] for client in range(len(case.expected))])


def main(folder: Path, output: Path) -> None:
    """Runs the simulation and writes what it found."""
    os.environ[flower_client.CASE] = str(folder)
    server, app = Server(load(folder)), ServerApp()
    app.main()(server.main)
    cores = os.cpu_count() or 1
    backend: dict[str, dict[str, Any]] = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"num_cpus": cores, "include_dashboard": False, "log_to_driver": False},
    }
    run_simulation(server_app=app, client_app=flower_client.app, num_supernodes=NODES, backend_config=backend)
    if not server.document:
        raise SystemExit("the simulation ended without figures")
    versions = {name: version(name) for name in ("flwr", "ray", "torch")}
    output.write_text(json.dumps({"versions": versions, **server.document}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
