"""What the host counts on the link, and how it is compared with what the board counts."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from bench.link.messages import Stats


@dataclass
class Counters:
    """Bytes and frames on one link. `down` is host to board, `up` board to host; HELLOs and log text are not counted.

    `payload_*`: payloads of requests sent and replies accepted, each once. `wire_*`: all bytes, delimiter to delimiter.
    `retransmitted_down`: of these, requests sent again. `retransmitted_up`: of these, bytes that brought nothing new:
    replies to requests answered before, and corrupt frames. `void_*`: of these, questions that had to be asked anew,
    and their answers, whose payloads are not counted either. `missed_up`: empty replies that the line has lost, and
    that nobody asked for again, as a later reply said the same; in no other row. `corrupt` and `frames_*` are numbers
    of frames, `log` is bytes of text.
    """

    payload_up: int = 0
    payload_down: int = 0
    wire_up: int = 0
    wire_down: int = 0
    retransmitted_up: int = 0
    retransmitted_down: int = 0
    frames_up: int = 0
    frames_down: int = 0
    corrupt: int = 0
    log: int = 0
    void_up: int = 0
    void_down: int = 0
    missed_up: int = 0

    @property
    def needed_up(self) -> int:
        """Wire bytes up that every run which asks the same would count, however bad the line."""
        return self.wire_up - self.retransmitted_up - self.void_up + self.missed_up

    @property
    def needed_down(self) -> int:
        """Likewise, down."""
        return self.wire_down - self.retransmitted_down - self.void_down

    def make_void(self, before: Counters) -> None:
        """What was asked and answered since `before` has to be asked again, for the line was bad."""
        spent = self - before
        self.payload_up -= spent.payload_up
        self.payload_down -= spent.payload_down
        self.void_up += spent.needed_up
        self.void_down += spent.needed_down

    def snapshot(self) -> Counters:
        """A copy that stays as it is."""
        return replace(self)

    def __add__(self, other: Counters) -> Counters:
        """The sum, row by row."""
        return Counters(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def __sub__(self, other: Counters) -> Counters:
        """What was counted since `other`, row by row."""
        return Counters(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})


@dataclass(frozen=True)
class CounterCheck:
    """Both ends' counters at one moment. `differences` names the rows that differ, with both figures."""

    host: Counters
    board: Stats
    differences: tuple[str, ...]

    @property
    def ahead(self) -> tuple[int, int]:
        """Bytes down and up that the host has counted beyond the board."""
        return self.host.wire_down - self.board.wire_rx, self.host.wire_up - self.board.wire_tx

    @property
    def agree(self) -> bool:
        """Whether both ends counted the same."""
        return not self.differences


def compare(host: Counters, board: Stats) -> CounterCheck:
    """Compares the counters of a lossless line; on a line that loses bytes the differences tell how many.

    `host` must be taken when the reply to STATS had arrived and without that reply, as the board's snapshot is. The
    board counts modulo 2^32.
    """
    rows = (
        ("bytes down", host.wire_down, board.wire_rx),
        ("bytes up", host.wire_up, board.wire_tx),
        ("frames down", host.frames_down, board.frames_rx),
        ("frames up", host.frames_up, board.frames_tx),
        ("retransmitted bytes down", host.retransmitted_down, board.rx_repeated),
        ("retransmitted bytes up", host.retransmitted_up, board.tx_repeated),
    )
    differences = [f"{row}: host {h}, board {b}" for row, h, b in rows if h & 0xFFFFFFFF != b]
    if board.rx_corrupt:
        differences.append(f"corrupt frames received by the board: {board.rx_corrupt}")
    if host.corrupt:
        differences.append(f"corrupt frames received by the host: {host.corrupt}")
    return CounterCheck(host, board, tuple(differences))
