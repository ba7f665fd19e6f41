"""A call that is recorded while faults happen, and what its file must have, may have, and must not.

Whatever a scenario does to a call adds to two masks over the frames that its legs said: ``required`` (in the file, each
at its place) and ``forbidden`` (said while paused or after a stop that was answered). Frames in neither are those that
no one promises: in the air at a command, or in the last moments before a kill.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray

from bench.faults.heard import MOVED_S, Heard, listen
from bench.faults.sender import LegPlan, Sender, Spoken
from wavstream.simulator.signal import FRAME_SAMPLES, PTIME_S, RING_FRAMES, make_ring

AIR_S = 0.06
"""What is sent so shortly before a request may be read after it."""
SETTLED_S = 30.0
"""How long a recording may take to its end before it counts as lost."""
_EVERY_S = 0.05
_APART = 641
"""Ring frames between the places of two legs."""


class Server(Protocol):
    """Who records: one server (``Victim``), or all nodes of a cluster (``nodes.Nodes``)."""

    http: httpx.AsyncClient

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""

    def slowness_s(self, from_s: float, to_s: float) -> float:
        """Return the longest that an answer took, of what was asked between two moments."""


_numbers = itertools.count()
_ring = make_ring()


@dataclass(slots=True)
class Result:
    """What a call has lost; in samples."""

    required: int = 0
    lost: int = 0
    leaked: int = 0
    """Of what must not be in the file."""
    moved: int = 0
    worst_shift_s: float = 0.0
    faults: list[str] = field(default_factory=list)
    """A sentence for each thing that is wrong."""

    @property
    def good(self) -> bool:
        return not (self.faults or self.lost or self.leaked or self.moved)


@dataclass(slots=True, eq=False)
class Call:
    """Two legs in one stereo recording."""

    victim: Server
    sender: Sender
    key: str | None = None
    label: str = "call"
    session_id: str = ""
    recording: dict[str, Any] | None = None
    windows: list[tuple[float, float, str]] = field(default_factory=list)
    """(from, to, "required" or "forbidden"): of the moments at which frames were sent; the last that fits counts."""
    faults: list[str] = field(default_factory=list)
    at_stake: bool = True

    def __post_init__(self) -> None:
        self.session_id = self.session_id or re.sub(r"\W+", "-", f"{self.label} {next(_numbers)}")

    @property
    def legs(self) -> list[str]:
        return [f"{self.session_id}/{leg}" for leg in "ab"]

    def speak(self, *, dials_again: bool = True, together: int = 1, **query: str) -> None:
        """Let both legs dial and speak; ``together``: so many frames in one write."""
        asked = f"?{urlencode(query)}" if query else ""
        plans = []
        for name in self.legs:
            number = next(_numbers)
            plans.append(
                LegPlan(
                    name, f"/media/pcm/{name}{asked}", number * _APART % RING_FRAMES, number % FRAME_SAMPLES, self.key,
                    dials_again=dials_again, together=together,
                )
            )  # fmt: skip
        self.sender.speak(plans)

    async def streaming(self) -> None:
        """Wait until both legs have a stream."""
        async with asyncio.timeout(SETTLED_S):
            while not self.sender.open(self.legs):  # noqa: ASYNC110 - it is asked of another process
                await asyncio.sleep(_EVERY_S)

    async def start(self, **options: object) -> None:
        """Start the recording; what is sent after the answer is required."""
        body = {"session_id": self.session_id, "channels": "stereo", "pause_behavior": "silence", **options}
        answer = await self._post("/v1/recordings", body)
        self.recording = answer
        self.windows.append((time.monotonic(), np.inf, "required"))

    async def pause(self) -> None:
        """Pause it: nothing that is sent after the answer may be in the file."""
        asked_s = time.monotonic()
        await self._act("pause")
        self.windows.append((asked_s - AIR_S, np.inf, ""))
        self.windows.append((time.monotonic(), np.inf, "forbidden"))

    async def resume(self) -> None:
        """Resume it: all that is sent after the answer is required again."""
        asked_s = time.monotonic()
        await self._act("resume")
        self.windows.append((asked_s - AIR_S, np.inf, ""))
        # A frame that is sent now holds what was said before: while it was paused.
        self.windows.append((time.monotonic() + 2 * PTIME_S, np.inf, "required"))

    async def stop(self) -> None:
        """Stop it: nothing that is sent after the answer may be in the file."""
        asked_s = time.monotonic()
        self.windows.append((asked_s - AIR_S, np.inf, ""))
        await self._act("stop")
        late_s = self.victim.slowness_s(asked_s - 1, time.monotonic())
        self.windows.append((asked_s - AIR_S - late_s, asked_s, ""))
        self.windows.append((time.monotonic(), np.inf, "forbidden"))

    async def tried(self, action: str, **options: object) -> bool:
        """Start, pause, resume or stop it; where that is refused, or not answered, nothing is promised from then on."""
        asked_s = time.monotonic()
        try:
            await {"start": self.start, "pause": self.pause, "resume": self.resume, "stop": self.stop}[action](
                **options
            )
        except (RefusedCommand, httpx.HTTPError):
            self.windows.append((asked_s - AIR_S, np.inf, ""))
            return False
        return True

    def unknown(self, from_s: float, to_s: float = np.inf) -> None:
        """Nothing is promised of what was sent between two moments, but what is forbidden stays so."""
        self.windows.append((from_s, to_s, "unknown"))

    def hang_up(self) -> None:
        """Let both legs say goodbye."""
        self.sender.hang_up(self.legs)

    async def settled(self, until_s: float | None = None) -> dict[str, Any]:
        """Wait until the recording has ended, or until then; the recording, as it is then."""
        assert self.recording is not None
        deadline_s, now = until_s or time.monotonic() + SETTLED_S, dict(self.recording)
        asked = False
        while not asked or time.monotonic() < deadline_s:
            asked = True
            try:
                answer = await self.victim.http.get(f"/v1/recordings/{self.recording['id']}", headers=self._headers)
            except httpx.HTTPError:
                if self.victim.ended:
                    break
                await asyncio.sleep(_EVERY_S)
                continue
            if answer.status_code == 404:
                return {"status": "gone"}
            if answer.status_code == 200:
                now = answer.json()
                if now["status"] not in ("accepted", "ongoing", "paused", "completed"):
                    break
            await asyncio.sleep(_EVERY_S)
        return now

    async def check(self, until_s: float | None = None) -> Result:
        """Listen to the file, once it is there or until then, and say what is wrong with it."""
        result = Result(faults=list(self.faults))
        spoken = self.sender.spoken(self.legs)
        masks = {name: self._masks(spoken[name]) for name in self.legs}
        required = sum(int(mask[0].sum()) for mask in masks.values()) * FRAME_SAMPLES
        result.required = required
        if self.recording is None:
            return result
        done = await self.settled(until_s)
        if done["status"] == "absent" and not required:
            return result
        if done["status"] != "available":
            result.lost = required
            result.faults.append(f"{self.label}: its recording is {done['status']} ({done.get('error')})")
            return result
        try:
            answer = await self.victim.http.get(done["url"], headers=self._headers)
        except httpx.HTTPError as failed:
            result.lost = required
            result.faults.append(f"{self.label}: its file was not sent ({failed!r})")
            return result
        if answer.status_code != 200:
            result.lost = required
            result.faults.append(f"{self.label}: its file answered {answer.status_code}")
            return result
        try:
            # What may be there or not is not looked for.
            sought = {name: required | forbidden for name, (required, forbidden) in masks.items()}
            heard = await asyncio.to_thread(listen, answer.content, spoken, _ring, sought)
        except (soundfile.LibsndfileError, ValueError) as broken:
            result.lost = required
            result.faults.append(f"{self.label}: its file cannot be read ({broken})")
            return result
        for name in self.legs:
            self._compare(name, heard[name], masks[name], result)
        if result.lost:  # what the recorder itself says of it
            told = {name: value for name, value in done["integrity"].items() if value and name != "samples"}
            result.faults.append(f"{self.label}: its receipt says {told}")
        return result

    def _compare(
        self, name: str, heard: Heard, masks: tuple[NDArray[np.bool_], NDArray[np.bool_]], result: Result
    ) -> None:
        required, forbidden = masks
        lost, leaked = required & ~heard.there, forbidden & heard.there
        shift_s = np.abs(np.where(heard.there, heard.shift_s, 0.0))
        moved = required & heard.there & (shift_s > MOVED_S)
        result.lost += int(lost.sum()) * FRAME_SAMPLES
        result.leaked += int(leaked.sum()) * FRAME_SAMPLES
        result.moved += int(moved.sum()) * FRAME_SAMPLES
        result.worst_shift_s = max(result.worst_shift_s, float(shift_s.max(initial=0.0)))
        for what, mask in (("lost", lost), ("leaked", leaked), ("moved", moved)):
            if mask.any():
                result.faults.append(
                    f"{self.label}, leg {name[-1]}: {what} {_stretches(mask)} of {len(mask) * PTIME_S:.2f} s"
                )

    def _masks(self, spoken: Spoken) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        sent_s = spoken.sent_s
        was_sent = ~np.isnan(sent_s)
        required = np.zeros(len(sent_s), np.bool_)
        forbidden = np.zeros(len(sent_s), np.bool_)
        said_s = spoken.start_s + np.arange(len(sent_s)) * PTIME_S
        for from_s, to_s, what in self.windows:
            within = was_sent & (sent_s >= from_s) & (sent_s < to_s)
            # What the bench sends late was said before: of that a start or a resume promises nothing.
            required[within] = (what == "required") & (said_s[within] >= from_s)
            if what != "unknown":
                forbidden[within] = what == "forbidden"
        return required, forbidden

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    async def _act(self, action: str) -> None:
        if self.recording is None:
            raise RefusedCommand(f"{self.label}: its start was refused, so there is nothing to {action}")
        await self._post(f"/v1/recordings/{self.recording['id']}/{action}")

    async def _post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = await self.victim.http.post(path, json=body, headers=self._headers)
        if answer.status_code >= 300:
            raise RefusedCommand(f"{path}: {answer.status_code}: {answer.text[:200]}")
        return answer.json()  # type: ignore[no-any-return]


class RefusedCommand(Exception):
    """The server refused a command; the text has its answer."""


def _stretches(mask: NDArray[np.bool_]) -> str:
    """Return the stretches of a mask of frames, in seconds of the leg."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    found = [f"{first * PTIME_S:.2f}-{last * PTIME_S:.2f}" for first, last in zip(edges[::2], edges[1::2], strict=True)]
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more stretches" if len(found) > 4 else "") + " s"
