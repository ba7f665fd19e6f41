"""The time from record/stop to the webhook, for many sessions that are stopped in the same second.

Sessions of one leg each stream throughout. Their recordings are started and stopped through the gateway's API, over a
few connections, and announced to a receiver in a process of its own. Every address is fetched when all is over.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Measured, free_port
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import Control
from wavstream.simulator.generator import Generator, Traffic
from wavstream.simulator.signal import PTIME_S

ADMIN_KEY, APP, KEY = "of-the-bench-admins", "bench", "wsk_of_the_bench_app"
CONNECTIONS = 20
TALK_S, SPREAD_S, WAIT_S = 4.0, 0.9, 30.0
"""Streamed before the first stop; from the first to the last; for the last webhook."""

SETTINGS = {"admin_api_key": ADMIN_KEY, "webhooks__allow_http": "true", "webhooks__allow_localhost": "true"}
"""Settings of a server whose webhooks go to this machine."""


@dataclass(frozen=True, slots=True)
class StopsResult:
    """The measurements."""

    webhook_ms: list[float]
    """Time from each stop's request to its ``recording.completed``, if that came; sorted."""
    missing: int
    """Webhooks that never came."""
    broken: int
    """Addresses that could not be fetched."""
    spread_s: float
    """Time from the first stop to the last."""


def stops_to_webhooks(server: Measured, *, sessions: int) -> StopsResult:
    """Stop so many sessions in one second; the server runs with ``SETTINGS``."""
    address = ServerAddress.parse(server.url)
    names = [f"stops-{number}" for number in range(sessions)]
    targets = [address.media_path("pcm", name, "a", {"rate": "8000", "app": APP}) for name in names]
    frames = round((TALK_S + SPREAD_S + 3) / PTIME_S)
    with receiver() as (port, completed):
        register(address, f"http://127.0.0.1:{port}/hooks")
        with Generator(address, Traffic(targets, frames, key=KEY)) as generator:
            generator.wait_connected()
            _command_all(address, "start", names, lambda _: time.monotonic())
            begin_s = time.monotonic() + 0.2
            generator.start(begin_s)
            first_s = begin_s + TALK_S
            stopped_s = _command_all(address, "stop", names, lambda index: first_s + SPREAD_S * index / sessions)
            generator.wait_done()
        deadline = time.monotonic() + WAIT_S
        while len(completed) < sessions and time.monotonic() < deadline:
            time.sleep(0.05)
    control = Control(address)
    broken = sum(control.status_of(url) != 200 for _, url in completed.values())
    control.close()
    times_ms = sorted((at_s - stopped_s[name]) * 1000 for name, (at_s, _) in completed.items())
    spread_s = max(stopped_s.values()) - min(stopped_s.values())
    return StopsResult(times_ms, sessions - len(completed), broken, spread_s)


@contextmanager
def receiver() -> Iterator[tuple[int, dict[str, tuple[float, str]]]]:
    """Run a receiver; yield its port, and by session the time and the address of each recording's webhook."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).parent / "peers" / "webhook_receiver.py"), str(port)]
    completed: dict[str, tuple[float, str]] = {}

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if (message := told["message"])["event"] == "recording.completed":
                completed.setdefault(message["session_uuid"], (told["at_s"], message["recording_url"]))

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        threading.Thread(target=read, daemon=True).start()
        try:
            yield port, completed
        finally:
            process.terminate()


def register(address: ServerAddress, webhook_url: str) -> None:
    connection = http.client.HTTPConnection(address.host, address.port)
    body = {"webhook_url": webhook_url, "api_key": KEY, "rate_limit": 0, "events": []}
    _send(connection, f"/admin/apps/{APP}", body, {"X-Admin-API-Key": ADMIN_KEY}, expected=200)
    connection.close()


def _command_all(
    address: ServerAddress, command: str, names: Sequence[str], due_s: Callable[[int], float]
) -> dict[str, float]:
    """Send the command to each session when it is due; return when each was sent, by the monotonic clock."""
    sent_s: dict[str, float] = {}

    def send(first: int) -> None:
        connection = http.client.HTTPConnection(address.host, address.port)
        for index in range(first, len(names), CONNECTIONS):
            time.sleep(max(due_s(index) - time.monotonic(), 0))
            sent_s[names[index]] = time.monotonic()
            path = f"/api/v1/sessions/{names[index]}/commands/record/{command}"
            _send(connection, path, {}, {"X-App-ID": APP, "X-API-Key": KEY}, expected=202)
        connection.close()

    threads = [threading.Thread(target=send, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sent_s


def _send(
    connection: http.client.HTTPConnection, path: str, body: object, headers: dict[str, str], *, expected: int
) -> None:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != expected:
        raise SystemExit(f"POST {path}: {answer.status}: {text.decode(errors='replace')[:300]}")
