"""The generators of a load: the simulator's own in Python, and one in C for more legs than Python can send.

Both send the same bytes at the same times; the one in C speaks binary L16 alone, and all of its legs begin together, or
each as soon as it is open. What is measured with it is checked as ever: the files are compared in Python afterwards.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import ClassVar

from wavstream.errors import OperatorError
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.generator import CONNECTS_PER_S, Generator, Traffic, all_turns
from wavstream.simulator.load_messages import messages
from wavstream.simulator.load_worker import SLOTS
from wavstream.simulator.signal import RING_FRAMES, first_frame, make_ring

PEERS = Path(__file__).parent / "peers"


class CGenerator(Generator):
    """The generator in C, as one process."""

    _connects_per_s: ClassVar[float] = CONNECTS_PER_S
    _how: ClassVar[str] = "calm"

    def __init__(self, server: ServerAddress, traffic: Traffic) -> None:
        turns = all_turns(traffic)
        if traffic.dialect != "pcm" or any(turn.begin for turn in turns):
            raise OperatorError("the generator in C sends binary L16, with all legs from the beginning")
        binary = built("generator")
        assert binary is not None
        wire, message_bytes = _wire()
        slots = 1 if traffic.burst else SLOTS
        headers = f"Authorization: Bearer {traffic.key}\r\n" if traffic.key else ""
        where = [server.host, str(server.port), str(wire), str(message_bytes)]
        command = [str(binary), *where, str(slots), str(self._connects_per_s), headers, self._how]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        _before_all_others(worker.pid)
        legs = max((turn.number for turn in turns), default=-1) + 1
        assert worker.stdin is not None
        for turn, target in sorted(zip(turns, traffic.targets, strict=True), key=lambda each: each[0].number):
            place = first_frame(turn.number, legs=legs)
            worker.stdin.write(f"{turn.number} {place} {turn.frames} {legs} {target}\n")
        worker.stdin.write("\n")
        worker.stdin.flush()
        self._workers = [worker]


class StormGenerator(CGenerator):
    """All legs dialled within a tenth of a second of the start; each streams as soon as it is open."""

    _connects_per_s = 10_000.0
    _how = "storm"


def fastest_generator() -> type[Generator]:
    """Return the generator in C, or where it cannot be built that in Python."""
    return CGenerator if built("generator") else Generator


def _before_all_others(pid: int) -> None:
    """Have a process run as soon as it is due, where that is allowed: whoever shares its core waits.

    A sender that is late is a sender whose frames are late, and those cost a fold twice as much.
    """
    if hasattr(os, "sched_setscheduler"):
        with suppress(PermissionError):
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))


@cache
def built(name: str) -> Path | None:
    """Return the program of ``bench/peers``, built if it has to be; None where that cannot be done."""
    if shutil.which("make") is None or shutil.which("cc") is None:
        return None
    made = subprocess.run(["make", "-C", str(PEERS), name], capture_output=True, text=True, check=False)
    return PEERS / name if made.returncode == 0 else None


@cache
def _wire() -> tuple[Path, int]:
    """Write every message of the ring to a file; return it and the size of a message."""
    message = messages("pcm", make_ring())
    ring: Sequence[bytes] = [message(place, 0, 0) for place in range(RING_FRAMES)]
    folder = Path(tempfile.mkdtemp(prefix="wavstream-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    wire = folder / "messages"
    wire.write_bytes(b"".join(ring))
    return wire, len(ring[0])
