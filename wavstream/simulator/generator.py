"""The processes of the load generator, run by one that connects all, starts them together and adds up the counts."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from wavstream.errors import OperatorError
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import refusal
from wavstream.simulator.load_worker import WorkerCounts, WorkerPlan

CONNECTS_PER_S = 400.0
"""New streams a second, all processes together."""


@dataclass(frozen=True, slots=True)
class Turn:
    """When one leg streams."""

    number: int
    """Among the legs that stream at one time; the next that has it comes after its end."""
    begin: int
    """In ticks of 20 ms, from the start of the load."""
    frames: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traffic of all processes together."""

    targets: Sequence[str]
    """Request targets, one leg each."""
    frames: int
    """Frames of each leg, one every 20 ms, where ``turns`` do not say otherwise."""
    dialect: str = "pcm"
    processes: int = 1
    burst: bool = False
    """All legs at the same instant of each ptime, instead of spread over it."""
    key: str | None = None
    turns: Sequence[Turn] = ()
    """When each leg streams; none: all from the beginning."""


def all_turns(traffic: Traffic) -> Sequence[Turn]:
    """Return when each leg streams."""
    return traffic.turns or [Turn(number, 0, traffic.frames) for number in range(len(traffic.targets))]


class Generator:
    """The worker processes of one load; leaving the context ends those that still run."""

    def __init__(self, server: ServerAddress, traffic: Traffic) -> None:
        self._workers = [_start_worker() for _ in range(traffic.processes)]
        turns = all_turns(traffic)
        legs = max((turn.number for turn in turns), default=-1) + 1
        share = -(-legs // traffic.processes)
        for index, worker in enumerate(self._workers):
            own = [at for at, turn in enumerate(turns) if turn.number // share == index]
            plan = WorkerPlan(
                host=server.host,
                port=server.port,
                secure=server.secure,
                authority=server.authority,
                key=traffic.key,
                dialect=traffic.dialect,
                targets=[traffic.targets[at] for at in own],
                numbers=[turns[at].number for at in own],
                begins=[turns[at].begin for at in own],
                lengths=[turns[at].frames for at in own],
                legs=legs,
                burst=traffic.burst,
                connects_per_s=CONNECTS_PER_S / traffic.processes,
            )
            _write_to(worker, asdict(plan))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.terminate()
            with contextlib.suppress(BrokenPipeError), worker:
                pass

    def wait_connected(self) -> None:
        """Wait until every stream is open; raise OperatorError if one cannot be opened, PeerError if it is refused."""
        for worker in self._workers:
            _read_from(worker)

    def start(self, at_s: float) -> None:
        """Have all send their first frame at this time of the monotonic clock."""
        for worker in self._workers:
            _write_to(worker, {"start": at_s})

    def wait_done(self) -> WorkerCounts:
        """Wait until every stream has sent its frames and is closed; return the counts of all processes together."""
        total = WorkerCounts()
        for worker in self._workers:
            counts = WorkerCounts(**_read_from(worker))
            total.frames += counts.frames
            total.late_ticks += counts.late_ticks
            total.worst_late_ms = max(total.worst_late_ms, counts.worst_late_ms)
            total.held_back += counts.held_back
            total.lost_legs += [(number, code) for number, code in counts.lost_legs]
            total.refused += counts.refused
            total.cpu_s += counts.cpu_s
        return total


def _start_worker() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "wavstream.simulator.load_worker"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _write_to(worker: subprocess.Popen[str], message: dict[str, Any]) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.write(json.dumps(message) + "\n")
        worker.stdin.flush()
    except BrokenPipeError:
        raise OperatorError("a process of the load generator ended early; its error is above") from None


def _read_from(worker: subprocess.Popen[str]) -> dict[str, Any]:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise OperatorError("a process of the load generator ended early; its error is above")
    message: dict[str, Any] = json.loads(line)
    if "failed" in message:
        if "refused" in message:
            raise refusal(message["failed"], message["refused"], message["why"])
        raise OperatorError(f"the load could not connect: {message['failed']}")
    return message
