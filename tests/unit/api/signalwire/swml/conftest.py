"""Calls that hear what is played to them, in a time that passes only while a run waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.support.waiting import until
from tests.unit.api.signalwire.conftest import BANK, CALL, SHOP, FakeCommands, SignalWire
from wavstream.api.facade import FacadeDependencies, FacadeRules, facade_app
from wavstream.api.routes import add_routes
from wavstream.api.signalwire.answers import refusal
from wavstream.api.signalwire.call_recordings import CallRecordings
from wavstream.api.signalwire.mount import credentials
from wavstream.api.signalwire.swml.live_call import Time
from wavstream.api.signalwire.swml.routes import routes
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.storage.local import LocalStorage

RATE_HZ = 8_000
YAML = {"Content-Type": "application/yaml"}
JSON = {"Content-Type": "application/json"}
RECORDED = np.arange(2 * RATE_HZ, dtype=np.int16)
"""What is in every file: two seconds."""


@dataclass
class VirtualTime:
    """Seconds that pass while somebody waits for them."""

    now_s: float = 0.0
    due: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    """What happens at which second."""
    going: asyncio.Event = field(default_factory=asyncio.Event)
    """Not set: time stands still, and whoever waits goes on waiting."""

    def at(self, second: float, happen: Callable[[], object]) -> None:
        self.due.append((second, happen))

    async def pause(self, length_s: float) -> None:
        await self.going.wait()
        self.now_s += length_s
        for each in [each for each in self.due if each[0] <= self.now_s]:
            self.due.remove(each)
            each[1]()
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Played:
    """A piece of sound that a call was sent."""

    at_s: float
    by_rate: dict[int, NDArray[np.int16]]
    after: bool


@dataclass
class Calls(FakeCommands):
    """Calls with streams that take audio, and recordings whose files are there once they have ended."""

    time: VirtualTime = field(default_factory=VirtualTime)
    rates: set[int] = field(default_factory=lambda: {RATE_HZ})
    """Of the streams that take audio."""
    played: list[Played] = field(default_factory=list)
    started_at_s: list[float] = field(default_factory=list)
    stopped_at_s: list[float] = field(default_factory=list)
    start_failure: Exception | None = None
    """Raised by every start."""
    publish_to: LocalStorage | None = None
    ends: dict[str, asyncio.Future[Recording]] = field(default_factory=dict)

    async def start(self, **said: Any) -> Recording:
        if self.start_failure is not None:
            raise self.start_failure
        recording = await super().start(**said)
        self.started_at_s.append(self.time.now_s)
        return recording

    async def end(self, *, app_id: str, recording_id: str, end_us: int | None = None) -> asyncio.Future[Recording]:
        ended = await super().end(app_id=app_id, recording_id=recording_id)
        self.stopped_at_s.append(self.time.now_s)
        return ended

    async def wait_ended(self, *, app_id: str, recording_id: str) -> Recording:
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if recording.status is Status.COMPLETED:
            return self.publish(recording)
        if not recording.status.is_running:
            return recording
        return await self.ends.setdefault(recording_id, asyncio.get_running_loop().create_future())

    def playable_rates(self, app_id: str, session_id: str) -> set[int]:
        self.session(app_id, session_id)
        return self.rates

    def play(self, *, app_id: str, session_id: str, sound: Any, after: bool = False) -> int:
        self.session(app_id, session_id)
        self.played.append(Played(self.time.now_s, dict(sound), after))
        return len(self.rates)

    # ---- what tests do behind the server's back ----------------------------------------------------------------

    def publish(self, recording: Recording, samples: NDArray[np.int16] = RECORDED) -> Recording:
        """Let the recording have a file."""
        assert self.publish_to is not None
        path = self.publish_to.path(recording.object_key)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, RATE_HZ, "PCM_16")
        return self.finish(recording, samples=len(samples))

    def end_by_itself(self, recording: Recording, reason: EndReason, status: Status = Status.AVAILABLE) -> None:
        """Let a recording end without a command."""
        ended = self.publish(recording) if status is Status.AVAILABLE else recording.became(status, self.clock())
        ended = self.put(replace(ended, end_reason=reason))
        self.ends.setdefault(recording.id, asyncio.get_running_loop().create_future()).set_result(ended)

    def hang_up(self, call: str = CALL, app_id: str = "shop") -> None:
        """Let the call end."""
        del self.views[app_id, call]


@dataclass
class Swml:
    """The routes of documents, a caller of the app ``shop``, and what is behind them."""

    commands: Calls
    time: VirtualTime
    parts: FacadeDependencies
    client: httpx.AsyncClient
    bank: httpx.AsyncClient
    storage: LocalStorage
    bucket: Any

    async def post(self, document: Any, *, call: str = CALL) -> httpx.Response:
        """Send a document: text as YAML, else as JSON."""
        if isinstance(document, str | bytes):
            return await self.client.post(f"/swml/calls/{call}", content=document, headers=YAML)
        return await self.client.post(f"/swml/calls/{call}", content=json.dumps(document), headers=JSON)

    async def start(self, document: Any, *, call: str = CALL) -> str:
        """Run a document; return the address of the run."""
        answer = await self.post(document, call=call)
        assert answer.status_code == 202, answer.text
        return answer.json()["url"]  # type: ignore[no-any-return]

    async def run(self, document: Any, *, call: str = CALL) -> dict[str, Any]:
        """Run a document to its end; return the run."""
        return await self.ended(await self.start(document, call=call))

    async def main(self, *steps: Any) -> dict[str, Any]:
        """Run these steps to their end; return the run."""
        return await self.run({"sections": {"main": steps}})

    async def ended(self, url: str) -> dict[str, Any]:
        """Wait for the end of a run; return it."""

        async def over() -> dict[str, Any] | None:
            run = (await self.client.get(url)).json()
            return run if run["status"] != "running" else None

        run = await until(over)
        assert run is not None
        return run

    def stand_still_until(self, going: asyncio.Event) -> None:
        """Let no time pass until the event."""
        self.time.going = going

    def with_rules(self, rules: FacadeRules) -> Swml:
        """Return the same world with other rules."""
        return self.with_parts(replace(self.parts, rules=rules))

    def with_parts(self, parts: FacadeDependencies) -> Swml:
        """Return the same world with other parts."""
        return replace(self, parts=parts, client=_client(parts, self.time, SHOP))

    def heard(self, rate_hz: int = RATE_HZ) -> NDArray[np.int16]:
        """Return all that was played to streams of this rate."""
        return np.concatenate([np.empty(0, np.int16), *(piece.by_rate[rate_hz] for piece in self.commands.played)])


def _client(parts: FacadeDependencies, time: VirtualTime, headers: dict[str, str]) -> httpx.AsyncClient:
    app = facade_app(
        parts,
        vendor="signalwire",
        title="",
        description="",
        scheme="Basic",
        credentials=credentials,
        refusal=refusal,
    )
    waiting = Time(clock=lambda: time.now_s, pause=time.pause)
    add_routes(app, routes(parts, CallRecordings(parts), time=waiting))
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="https://rec.example.com", headers=headers)


@pytest.fixture
async def swml(signalwire: SignalWire) -> AsyncIterator[Swml]:
    """Yield a world in which the app ``shop`` has a live call."""
    time = VirtualTime()
    time.going.set()
    commands = Calls(signalwire.clock, time=time)
    commands.stream()
    commands.publish_to = signalwire.storage
    parts = replace(signalwire.parts, commands=commands)
    async with _client(parts, time, SHOP) as client:
        bank = httpx.AsyncClient(transport=client._transport, base_url=client.base_url, headers=BANK)
        yield Swml(commands, time, parts, client, bank, signalwire.storage, signalwire.bucket)
