"""The processes that a bench starts, watches and ends, by their id and nothing else: the server and its peers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SERVER_CORE, GENERATOR_CORE = 0, 1
_START_TIMEOUT_S = 20.0
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
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """Return the user and system time of all its threads."""
        return cpu_s(self._process.pid)

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

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
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def can_pin() -> bool:
    """Return whether each side can have a core of its own."""
    return {SERVER_CORE, GENERATOR_CORE} <= os.sched_getaffinity(0)


def pin_generator(pinned: bool) -> None:
    """Keep this process, and those it starts, off the server's core."""
    if pinned:
        os.sched_setaffinity(0, {GENERATOR_CORE})


@contextmanager
def wavstream_server(pinned: bool, **settings: object) -> Iterator[Measured]:
    """Run a fresh server with an empty data folder; ``settings`` are named as in the environment, in lower case."""
    with _server(["-m", "wavstream"], pinned, settings) as server:
        yield server


@contextmanager
def named_server(pinned: bool, **settings: object) -> Iterator[Measured]:
    """Run a fresh server as ``wavstream_server`` does, whose threads can be told apart."""
    with _server([str(Path(__file__).parent / "peers" / "named_server.py")], pinned, settings) as server:
        yield server


@contextmanager
def _server(program: Sequence[str], pinned: bool, settings: Mapping[str, object]) -> Iterator[Measured]:
    with tempfile.TemporaryDirectory(prefix="wavstream-bench-") as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WAVSTREAM_")}
        environment |= {"WAVSTREAM_DATA_DIR": folder, "WAVSTREAM_LOG__LEVEL": "warning"}
        environment |= {f"WAVSTREAM_{name.upper()}": str(value) for name, value in settings.items()}
        command = [sys.executable, *program, "serve", "--port"]
        with _running(command, pinned, environment=environment) as server:
            yield server


@contextmanager
def python_peer(name: str, pinned: bool, *options: str) -> Iterator[Measured]:
    """Run a peer in Python beside this file."""
    command = [sys.executable, str(Path(__file__).parent / "peers" / name)]
    with _running(command, pinned, behind=options) as peer:
        yield peer


@contextmanager
def c_recorder(binary: Path, pinned: bool) -> Iterator[Measured]:
    """Run the recorder on libwebsockets, writing to a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="wavstream-bench-") as folder,
        _running([str(binary)], pinned, behind=[folder]) as peer,
    ):
        yield peer


@contextmanager
def _running(
    command: Sequence[str], pinned: bool, *, behind: Sequence[str] = (), environment: dict[str, str] | None = None
) -> Iterator[Measured]:
    port = free_port()
    before: Callable[[], None] | None = (lambda: os.sched_setaffinity(0, {SERVER_CORE})) if pinned else None
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
