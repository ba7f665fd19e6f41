"""The processes that a bench starts, watches and ends, by their id and nothing else: the server and its peers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE, GENERATOR_CORE = 0, 1
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class MostMemory:
    """The most memory that was seen by now."""

    bytes = 0


class Measured:
    """A running process that listens on a port of loopback."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def cpu_s(self) -> float:
        """Return the user and system time of all threads of it and of the processes below it."""
        return sum(cpu_s(pid) for pid in _family(self.pid))

    def loop_cpu_s(self) -> float:
        """Return the user and system time of its main thread, which runs the event loop, and of those below it."""
        return sum(_cpu_s(Path(f"/proc/{pid}/task/{pid}/stat")) for pid in _family(self.pid))

    def memory_bytes(self) -> int:
        """Return the resident memory of it and of the processes below it."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _family(self.pid))
        return pages * os.sysconf("SC_PAGE_SIZE")

    @contextmanager
    def most_memory(self) -> Iterator[MostMemory]:
        """Watch its memory while the context lasts."""
        most, is_over = MostMemory(), threading.Event()

        def watch() -> None:
            while not is_over.wait(0.1):
                most.bytes = max(most.bytes, self.memory_bytes())

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield most
        finally:
            is_over.set()
            thread.join()


def cpu_s(pid: int) -> float:
    """Return the user and system time of all threads of a process."""
    return _cpu_s(Path(f"/proc/{pid}/stat"))


def _cpu_s(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _family(pid: int) -> list[int]:
    """Return the process and those that it started, and so on."""
    below: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):  # it may have ended
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                below.setdefault(parent, []).append(int(folder.name))
    family = [pid]
    for each in family:
        family += below.get(each, [])
    return family


def end_with_children() -> None:
    """Have SIGTERM, and Ctrl-C of a run in the background too, end what was started before this process ends."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


def can_pin() -> bool:
    """Return whether each side can have a core of its own; asked before anything is pinned."""
    return {SERVER_CORE, GENERATOR_CORE} <= os.sched_getaffinity(0)


def pin_generator(pinned: bool, *, shared: bool = False) -> None:
    """Keep this process, and those it starts, off the server's core; ``shared``: let them run on both."""
    if pinned:
        os.sched_setaffinity(0, {SERVER_CORE, GENERATOR_CORE} if shared else {GENERATOR_CORE})


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """How servers are run."""

    python: str = sys.executable
    """Their interpreter."""
    workers: int = 1
    """More than one: ``serve --workers``, on as many cores, which the generator shares where there are no others."""
    wrapper: Sequence[str] = ()
    """Words before the command, such as a profiler's."""
    program: Sequence[str] = ("-m", "wavstream")
    """What the interpreter runs."""

    @property
    def command(self) -> list[str]:
        """The words before the port."""
        workers = ["--workers", str(self.workers)] if self.workers > 1 else []
        return [*self.wrapper, self.python, *self.program, "serve", *workers, "--port"]

    @property
    def cores(self) -> set[int]:
        """The cores that are theirs."""
        return set(range(SERVER_CORE, SERVER_CORE + self.workers))


USUAL = ServerPlan()
NAMED = ServerPlan(program=(str(Path(__file__).parent / "peers" / "named_server.py"),))
"""A server whose threads can be told apart."""


def has_workers(python: str = sys.executable) -> bool:
    """Return whether the server of this checkout can have several workers."""
    told = subprocess.run([python, "-m", "wavstream", "serve", "--help"], capture_output=True, text=True, check=False)
    return "--workers" in told.stdout


@contextmanager
def wavstream_server(pinned: bool, plan: ServerPlan = USUAL, **settings: object) -> Iterator[Measured]:
    """Run a fresh server with an empty data folder; ``settings`` are named as in the environment, in lower case."""
    with tempfile.TemporaryDirectory(prefix="wavstream-bench-") as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAVSTREAM_")}
        environment |= {"WAVSTREAM_DATA_DIR": folder, "WAVSTREAM_LOG__LEVEL": "warning"}
        environment |= {f"WAVSTREAM_{name.upper()}": str(value) for name, value in settings.items()}
        with _running(plan.command, plan.cores if pinned else None, environment=environment) as server:
            yield server


@contextmanager
def python_peer(name: str, pinned: bool, *options: str) -> Iterator[Measured]:
    """Run a peer in Python beside this file."""
    command = [sys.executable, str(Path(__file__).parent / "peers" / name)]
    with _running(command, {SERVER_CORE} if pinned else None, behind=options) as peer:
        yield peer


@contextmanager
def recorder_peer(command: Sequence[str], pinned: bool, *options: str) -> Iterator[Measured]:
    """Run a peer that writes to a folder: ``command PORT FOLDER``, and options behind them."""
    with (
        tempfile.TemporaryDirectory(prefix="wavstream-bench-") as folder,
        _running(command, {SERVER_CORE} if pinned else None, behind=[folder, *options]) as peer,
    ):
        yield peer


@contextmanager
def _running(
    command: Sequence[str],
    cores: set[int] | None,
    *,
    behind: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> Iterator[Measured]:
    port = free_port()
    before: Callable[[], None] | None = None if cores is None else lambda: os.sched_setaffinity(0, cores)
    process = subprocess.Popen([*command, str(port), *behind], env=environment, preexec_fn=before)
    try:
        _wait_listening(process, port)
        yield Measured(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _wait_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode} before it listened")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} did not listen on port {port} within {_START_TIMEOUT_S:g} s")
