"""A real server that is killed, frozen and started again; what it logged, and how slowly it answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.faults.pulse import EVERY_S, Pulse
from wavstream.settings import PREFIX, variable

_START_S = 120.0
"""On a machine that is very busy: 45 s were too little there."""
_RESET_S = 0.02
"""Until its peers know that it is dead."""


class DidNotStart(Exception):
    """The server ended before it was ready; the text has its last words."""


@dataclass(slots=True)
class Blame:
    """What no fault may bring about."""

    tracebacks: list[str] = field(default_factory=list)
    """Log events with a traceback."""
    server_errors: list[str] = field(default_factory=list)
    """Answers of 500."""


class Victim:
    """One data folder, and the server that runs on it from time to time, always on the same port."""

    def __init__(
        self, folder: Path, *, environment: Mapping[str, str] | None = None, core: int | None = None, **settings: Any
    ) -> None:
        """Prepare it; ``settings`` are dotted names with ``__``; ``core``: the one that the server gets."""
        self.data_dir = folder / "data"
        self.port = _port_to_keep()
        self.blame = Blame()
        self._log = folder / "server.log"
        self._log_read = 0
        self._core = core
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        self._environment |= {variable(name.replace("__", ".")): str(value) for name, value in settings.items()}
        self._environment |= {variable("data_dir"): str(self.data_dir), variable("log.format"): "json"}
        self._environment |= environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._is_frozen = False
        self._pulse = Pulse(self._is_well)
        folder.mkdir(parents=True, exist_ok=True)
        limits = httpx.Limits(max_connections=200, keepalive_expiry=1.0)
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}", timeout=60, verify=False, limits=limits,
            event_hooks={"response": [self._note]},
        )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def begin(self) -> None:
        """Start the process, and do not wait for it."""
        self._log_read = self._log.stat().st_size if self._log.exists() else 0
        core = self._core
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wavstream", "serve", "--port", str(self.port)], stderr=log,
                env=self._environment, preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
            )  # fmt: skip

    async def ready(self) -> None:
        """Wait until it says that it is; raise DidNotStart."""
        deadline_s = time.monotonic() + _START_S
        while time.monotonic() < deadline_s:
            if any(line.get("event") == "server_ready" for line in self._lines(self._log_read)):
                self._pulse.begin()
                return
            if self._process is None or self._process.poll() is not None:
                break
            await asyncio.sleep(EVERY_S)
        raise DidNotStart("; ".join(str(line) for line in self._lines(self._log_read)[-3:]) or "no word")

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        self.begin()
        await self.ready()

    def kill(self) -> tuple[float, float]:
        """Kill it now; return when that was, and since when its sockets are gone, on the monotonic clock."""
        assert self._process is not None
        self._is_frozen = False
        killed_s = time.monotonic()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._pulse.end()
        self._process = None
        return killed_s, time.monotonic() + _RESET_S

    def freeze(self) -> None:
        """Stop the process where it is."""
        self._is_frozen = True
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._is_frozen = False
        os.kill(self.pid, signal.SIGCONT)

    async def end(self) -> int | None:
        """Ask it to stop, kill it if it does not, and read its log; the exit code."""
        code: int | None = None
        if self._process is not None:
            self._pulse.end()
            self._process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(_wait, self._process)
            self._process = None
        self.read_log()
        return code

    async def close(self) -> None:
        """End it, and the client."""
        await self.end()
        await self.http.aclose()

    @property
    def is_answering(self) -> bool:
        """Whether it runs, and was not frozen."""
        return self._process is not None and not self._is_frozen and self._process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def slowness_s(self, from_s: float, to_s: float) -> float:
        """Return the longest that an answer took, of what was asked between two moments: how late it may have read."""
        return self._pulse.slowness_s(from_s, to_s)

    def read_log(self) -> list[dict[str, Any]]:
        """Return every line of the log so far, and note the tracebacks in it."""
        lines = self._lines(0)
        self.blame.tracebacks = [
            f"{line.get('event')}: {str(line['exception']).strip().splitlines()[-1]}"
            for line in lines
            if line.get("exception")
        ]
        self.blame.tracebacks += [
            f"not a log line: {line['raw']}" for line in lines if "Traceback" in str(line.get("raw"))
        ]
        return lines

    def log_lines(self) -> int:
        """Return how many lines the log has, but for those of a call and its recordings, of which each has a few."""
        told = ("session_", "recording_")
        return sum(
            line.get("level") != "info" or not str(line.get("event")).startswith(told) for line in self._lines(0)
        )

    def _lines(self, offset: int) -> list[dict[str, Any]]:
        if not self._log.exists():
            return []
        with self._log.open("rb") as log:
            log.seek(offset)
            text = log.read().decode(errors="replace")
        lines = []
        for line in text.splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"raw": line})
        return lines

    async def _note(self, answer: httpx.Response) -> None:
        if answer.status_code == 500:
            await answer.aread()
            self.blame.server_errors.append(f"{answer.request.method} {answer.request.url.path}: {answer.text[:200]}")

    async def _is_well(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            await self.http.get("/healthz")
            return True
        return False


def _port_to_keep() -> int:
    """Return a free port that the kernel gives to nobody: the server leaves it at each kill, and wants it back."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port := random.randrange(20_000, 30_000)))
            return port


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
