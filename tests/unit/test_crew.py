"""Clients at the same time: whose time a deadline counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from linear_cohort import Watcher

from bench.errors import InfrastructureError
from bench.federation.client import Trained, TrainJob
from bench.federation.crew import Crew

JOB = TrainJob(1, "v", b"", 0, 1, 0.1, 1)


class OnOneHost:
    """A client whose jobs take so many seconds, cancelled or not."""

    host = "h"
    capacity = 1

    def __init__(self, name: str, seconds: float) -> None:
        self.name = name
        self.seconds = seconds

    def at_least_s(self, job: TrainJob) -> float:
        return 0.0

    def fit(self, job: TrainJob, progress: Callable[[int, int], None], cancelled: threading.Event) -> Trained:
        time.sleep(self.seconds)  # what a job is here
        return Trained(self.name, 1, b"", 1, 0.0, 0.0, 0, 0.0, ())

    def recover(self) -> None:
        pass


def crew_of(*seconds: float, deadline_s: float) -> tuple[Crew, list[str]]:
    names = [f"c{index}" for index in range(len(seconds))]
    clients = [OnOneHost(name, takes) for name, takes in zip(names, seconds, strict=True)]
    return Crew(clients, deadline_s, Watcher()), names


def test_waiting_for_others_of_its_host_is_not_a_clients_time() -> None:
    crew, names = crew_of(0.3, 0.3, 0.3, deadline_s=0.6)
    works = [crew.begin(name, number, JOB) for number, name in enumerate(names)]
    assert [crew.result(work).client for work in works] == names  # the last one after 0.9 s
    assert crew.close() == []


def test_behind_one_that_hangs_the_wait_is_bounded() -> None:
    crew, names = crew_of(3.0, 0.0, deadline_s=0.3)
    works = [crew.begin(name, number, JOB) for number, name in enumerate(names)]
    began = time.monotonic()
    for work in works:
        with pytest.raises(InfrastructureError, match=r"no answer within 0\.3 s"):
            crew.result(work)
    assert time.monotonic() - began < 2.0  # 0.6 s
    crew.close()
