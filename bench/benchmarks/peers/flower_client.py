"""The ClientApp of flower_simulation.py, in a module of its own: workers import it once and keep what it has loaded."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from .case import load
from .torch_loop import Trainer

CASE = "FLEET_SPEED_CASE"
"""Environment variable: the case's folder."""
ARRAYS, METRICS, CLIENT = "arrays", "metrics", "client"
"""Records of a reply, and the metric that says whose it is."""


@cache
def _trainer() -> tuple[Trainer, int]:
    """The worker's network and the number of clients: made once, as an experienced user would."""
    torch.set_num_threads(1)
    case = load(Path(os.environ[CASE]))
    return Trainer(case), case.clients


def _train(message: Message, context: Context) -> Message:
    trainer, clients = _trainer()
    start = [torch.from_numpy(array.copy()) for array in message.content[ARRAYS].to_numpy_ndarrays()]
    client = int(context.node_config["partition-id"]) % clients
    arrays = ArrayRecord([tensor.numpy() for tensor in trainer.train(client, start)])
    content = RecordDict({ARRAYS: arrays, METRICS: MetricRecord({CLIENT: client})})
    return Message(content=content, reply_to=message)


app = ClientApp()
app.train()(_train)
