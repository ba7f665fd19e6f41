"""A real recorder for tests: the server of the product on loopback, in this process or in one that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from tests.support.faulty_database import make_if_new
from tests.support.no_disk import no_disk
from tests.support.postgres import catalog_settings
from tests.support.processes import Process, entered, start
from tests.support.truth import Truth, again_if_too_slow, witnessed
from tests.support.waiting import WAIT_S, until
from wavstream.clock import UnixClock, uptime_us
from wavstream.model.times import unix_us
from wavstream.service.server import SWITCH_INTERVAL_S, running
from wavstream.service.service import Service
from wavstream.settings import Settings, variable
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.caller import Leg, play_call


class Heard(NamedTuple):
    """A call that was recorded while it was played in real time."""

    samples: NDArray[np.int16]
    """Of its file, (n, channels)."""
    rate_hz: int
    done: dict[str, Any]
    """The recording as it is in the end."""
    truth: Truth


class Recorder:
    """What a caller and a user of the API can do to a running server."""

    def __init__(self, base_url: str, *, key: str | None = None, service: Service | None = None) -> None:
        """``service``: of a server in this process; calls are played to no other in real time."""
        self.base_url = base_url
        self._service = service
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # It speaks no TLS: without certificates to load it is made in no time.
        self.http = httpx.AsyncClient(base_url=base_url, timeout=WAIT_S, headers=headers, verify=False)

    async def start(self, session_id: str, **options: object) -> dict[str, Any]:
        """Start a recording; the answer must be 201."""
        answer = await self.http.post("/v1/recordings", json={"session_id": session_id, **options})
        assert answer.status_code == 201, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def act(self, recording: dict[str, Any], action: str) -> dict[str, Any]:
        """Stop, pause or resume; the answer must be 200."""
        answer = await self.http.post(f"/v1/recordings/{recording['id']}/{action}")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def get(self, recording: dict[str, Any]) -> dict[str, Any]:
        """Return the recording as it is now."""
        answer = await self.http.get(f"/v1/recordings/{recording['id']}")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def only_recording(self, session_id: str) -> dict[str, Any]:
        """Return the recording of a session that has one, or is about to."""

        async def listed() -> list[dict[str, Any]]:
            answer = await self.http.get("/v1/recordings", params={"session_id": session_id})
            return answer.json()["data"]  # type: ignore[no-any-return]

        (found,) = await until(listed)
        return found

    async def until(self, recording: dict[str, Any], *statuses: str) -> dict[str, Any]:
        """Wait for one of these states."""

        async def there() -> dict[str, Any] | None:
            now = await self.get(recording)
            return now if now["status"] in (statuses or ("available",)) else None

        found = await until(there)
        assert found is not None
        return found

    async def until_streaming(self, session_id: str, legs: int) -> None:
        """Wait until the session has so many open streams, all of which have sent audio."""
        await self.until_received(session_id, 1, legs=legs)

    async def until_received(self, session_id: str, media_ms: int, *, legs: int = 1) -> None:
        """Wait until the session has so many open streams, each of which has sent that much audio."""

        async def received() -> bool:
            answer = await self.http.get(f"/v1/sessions/{session_id}")
            streams = answer.json()["streams"] if answer.status_code == 200 else []
            return len(streams) == legs and all(stream["received_ms"] >= media_ms for stream in streams)

        await until(received)

    async def fetch(self, recording: dict[str, Any]) -> bytes:
        """Return the file behind the recording's link."""
        answer = await self.http.get(recording["url"])
        assert answer.status_code == 200, (answer.text, recording)
        return answer.content

    async def listen(self, recording: dict[str, Any]) -> tuple[NDArray[np.int16], int]:
        """Return the finished file as samples (n, channels), and its rate."""
        return hear(await self.fetch(await self.until(recording)))

    async def play(self, session_id: str, *legs: Leg, dialect: str = "pcm") -> Truth:
        """Play a call to its end as a media server would; raises MachineTooSlow."""
        assert self._service is not None
        server = ServerAddress.parse(self.base_url)
        await self.http.get("/v1/sessions")  # FastAPI puts its routes together at the first request, for 30 ms
        async with witnessed(self._service) as truth:
            await play_call(legs, server=server, session_id=session_id, dialect=dialect)
        truth.check()
        return truth

    async def play_at_once(self, session_id: str, *legs: Leg, dialect: str = "pcm") -> None:
        """Play a call as fast as the server takes it, where time is not the subject."""
        server = ServerAddress.parse(self.base_url)
        await play_call(legs, server=server, session_id=session_id, dialect=dialect, speed=math.inf)

    async def record(self, *legs: Leg, dialect: str = "pcm", asked_for: bool = True, **options: object) -> Heard:
        """Record a call that is played in real time, again if the machine was too slow to tell anything of it.

        ``asked_for``: by a command before it; else the call itself asks, or the server's settings do.
        """

        async def call(session_id: str) -> Heard:
            recording = await self.start(session_id, **options) if asked_for else None
            truth = await self.play(session_id, *legs, dialect=dialect)
            recording = recording or await self.only_recording(session_id)
            samples, rate_hz = await self.listen(recording)
            return Heard(samples, rate_hz, await self.get(recording), truth)

        return await again_if_too_slow(call)

    def connect(self, path: str) -> connect:
        """Return a media WebSocket of one's own; use as a context manager."""
        return connect(self.base_url.replace("http", "ws", 1) + path, compression=None, max_size=None)


def hear(file: bytes) -> tuple[NDArray[np.int16], int]:
    """Return a WAV file's samples (n, channels), and its rate in hertz."""
    samples, rate_hz = soundfile.read(io.BytesIO(file), dtype="int16", always_2d=True)
    return samples, rate_hz


async def close_code(socket: ClientConnection) -> tuple[int | None, str | None]:
    """Wait until the server has closed; its code and reason."""
    await asyncio.wait_for(socket.wait_closed(), WAIT_S)
    return socket.close_code, socket.close_reason


class Wall:
    """The wall clock as links and retention see it; a test can put it forward."""

    def __init__(self, *, jumps: bool = False) -> None:
        """``jumps``: a server finds that it was put forward; else so much time has passed."""
        self.ahead = timedelta(0)
        self.steady_us = uptime_us if jumps else None

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@contextlib.asynccontextmanager
async def recorder(
    data_dir: Path, *, wall: Wall | None = None, **settings: Any
) -> AsyncIterator[tuple[Recorder, Service]]:
    """Run a server in this process, on a free port; its threads take turns as those of one that serves.

    A new data folder has an empty catalog already, which is a third of a start; a ServerProcess makes its own.
    """
    await asyncio.to_thread(make_if_new, data_dir)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    settings = {**await asyncio.to_thread(catalog_settings, data_dir), **settings}
    chosen = Settings(port=0, data_dir=data_dir, **settings)
    wall = wall or Wall()
    clock = UnixClock(unix_us(wall())) if wall.steady_us else None  # as on a machine, where it is read from the wall
    async with running(chosen, wall=wall, clock=clock, steady_us=wall.steady_us) as (service, _):
        client = Recorder(service.settings.base_url, service=service)
        try:
            with no_disk():
                yield client, service
        finally:
            await client.http.aclose()
            sys.setswitchinterval(interval_s)


IMPORTED = b"import time:"
"""What a line begins with that tells of an imported module, where Python was asked to tell of them."""


class ServerProcess:
    """A server in a process of its own: started, and ended only by its id."""

    enter: Sequence[str] = ()
    """What its command begins with."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.said: list[dict[str, Any]] = []
        """Its log until it was ready."""
        self.last_words: list[str] = []
        """Of its log, what it wrote from then until its end."""
        if (catalog := catalog_settings(data_dir).get("catalog")) is not None:
            settings["catalog__url"] = catalog["url"]
        self._environment = {variable(name.replace("__", ".")): str(value) for name, value in settings.items()}
        self._process: Process | None = None

    async def start(self) -> Recorder:
        """Start, and wait until it says that it is ready."""
        process = await self._begin()
        self.said.clear()
        async with asyncio.timeout(WAIT_S):
            while line := await process.stderr.readline():
                if line.startswith(IMPORTED):
                    continue
                said = json.loads(line)
                self.said.append(said)
                if said["event"] == "server_ready":
                    return Recorder(said["url"])
        raise AssertionError("the server ended before it was ready")

    async def fail(self) -> tuple[int, str]:
        """Start where that cannot be; return the exit code and what was said."""
        process = await self._begin()
        words = await asyncio.wait_for(process.stderr.read(), WAIT_S)
        self._process = None
        return await process.wait(), words.decode()

    async def _begin(self) -> Process:
        environment = {
            **self._environment, "WAVSTREAM_DATA_DIR": str(self.data_dir), "WAVSTREAM_LOG__FORMAT": "json"
        }  # fmt: skip
        words = ("serve", "--port", "0")
        if self.enter:
            self._process = await entered(*self.enter, environment=environment, words=words)
        else:
            self._process = await start("wavstream", *words, environment=environment)
        return self._process

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def freeze(self) -> None:
        """Let the process stand still."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill_at_once(self) -> None:
        """Kill the process, and wait for nothing: what it has started may still hold its log."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process = None

    async def end(self, number: signal.Signals) -> int:
        """Send the signal and wait for the end; the exit code."""
        process = self._process
        assert process is not None
        process.send_signal(number)
        self._process = None
        words = await asyncio.wait_for(process.stderr.read(), WAIT_S)
        self.last_words = words.decode().splitlines()
        return await process.wait()

    async def ended(self) -> int:
        """Wait for the end that somebody else has asked for; the exit code."""
        process, self._process = self._process, None
        assert process is not None
        self.last_words = (await asyncio.wait_for(process.stderr.read(), WAIT_S)).decode().splitlines()
        return await process.wait()

    async def __aenter__(self) -> ServerProcess:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self.end(signal.SIGKILL)
