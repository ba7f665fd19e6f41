"""Live sessions without sockets, folds and clocks: what they ask for is written down, what they journal is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from wavstream.dialects.events import Frame, StreamStarted
from wavstream.journal.events import JournalEvent
from wavstream.journal.journal import Journal
from wavstream.journal.records import ClockRecord, EventRecord, items
from wavstream.model.audio import Channel, MediaFormat, Track, TrackClock
from wavstream.model.call import CallFacts
from wavstream.model.ids import new_id
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status
from wavstream.sessions.session import Session
from wavstream.sessions.stream import Stream
from wavstream.sessions.timing import Timing

T0_US = 1_800_000_000_000_000
"""When every call starts."""
RECONNECT_WAIT_S = 30.0
START_WAIT_S = 60.0
ANNOUNCED_WAIT_S = 14_400.0
TIMING = Timing(
    reconnect_wait_us=int(RECONNECT_WAIT_S * 1e6),
    start_wait_us=int(START_WAIT_S * 1e6),
    announced_wait_us=int(ANNOUNCED_WAIT_S * 1e6),
)
OPTIONS = RecordingOptions()
FRAME = bytes(range(160)) * 2
"""20 ms of L16 at 8 kHz."""


def at(seconds: float) -> int:
    """A moment of the call, as Unix time in microseconds."""
    return T0_US + round(seconds * 1e6)


@dataclass(slots=True)
class Handle:
    """A media socket that remembers what was done to it."""

    dialect: str = "pcm"
    closed: list[tuple[int, str]] = field(default_factory=list)
    alive: bool | None = None
    """What it was last told of silence."""
    reading: bool = True
    played: list[NDArray[np.int16]] = field(default_factory=list)

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def play(self, samples: NDArray[np.int16]) -> None:
        self.played.append(samples)

    def keep_alive(self, on: bool) -> None:
        self.alive = on

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Renderer:
    """Writes down what sessions ask for; files are finished when a test says so."""

    def __init__(self, on_change: Callable[[Recording], None] | None = None) -> None:
        self.begun: list[tuple[str, int]] = []
        """Recording and its first segment."""
        self.changed: list[Recording] = []
        self.advanced: list[list[Journal]] = []
        self.ended: dict[str, Recording] = {}
        """As they were stopped."""
        self.forgotten: list[str] = []
        self._futures: dict[str, asyncio.Future[Recording]] = {}

    def begin(self, recording: Recording, journal: Journal, *, first_segment: int) -> None:
        self.begun.append((recording.id, first_segment))

    def change(self, recording: Recording) -> None:
        self.changed.append(recording)

    def advance(self, journals: list[Journal]) -> None:
        self.advanced.append(list(journals))

    def end(self, recording: Recording, journal: Journal) -> asyncio.Future[Recording]:
        assert recording.id not in self.ended, "a recording ends once"
        self.ended[recording.id] = recording
        self._futures[recording.id] = asyncio.get_running_loop().create_future()
        return self._futures[recording.id]

    def finishing(self, recording_id: str) -> Recording | None:
        waits = recording_id in self._futures and not self._futures[recording_id].done()
        return self.ended[recording_id] if waits else None

    def forget(self, recording_id: str) -> None:
        self.forgotten.append(recording_id)

    def finish(self, recording: Recording) -> None:
        """The file is there: ``recording`` is what it ended up as."""
        self._futures[recording.id].set_result(recording)

    @property
    def ends(self) -> list[str | None]:
        """Why recordings ended, in order."""
        return [recording.end_reason for recording in self.ended.values()]


def a_recording(
    *, app_id: str = "default", session_id: str = "call-77", options: RecordingOptions = OPTIONS
) -> Recording:
    """A recording that was just asked for."""
    recording_id = new_id()
    return Recording(
        id=recording_id,
        app_id=app_id,
        session_id=session_id,
        status=Status.ACCEPTED,
        options=options,
        object_key=f"{app_id}/{recording_id}.wav",
        file_name="call-77.wav",
        created_at=datetime.fromtimestamp(T0_US / 1e6, UTC),
    )


def introduction(
    leg: str | None = "a", *, session_id: str = "call-77", tracks: tuple[Track, ...] = (Track.INBOUND,),
    clock: TrackClock = TrackClock.CONTIGUOUS, channel: Channel | None = None, call: CallFacts = CallFacts(),
    record: bool = False, keepalive: bool | None = None, returns_audio: bool = False, stream_id: str | None = None,
) -> StreamStarted:  # fmt: skip
    """What a stream of 8 kHz L16 says first."""
    return StreamStarted(
        session_id=session_id, leg=leg, format=MediaFormat(channels=len(tracks)), clock=clock, tracks=tracks,
        channel=channel, call=call, record=record, keepalive=keepalive, returns_audio=returns_audio,
        stream_id=stream_id,
    )  # fmt: skip


class LiveCall:
    """One session and all that it is handed."""

    def __init__(self, *, timing: Timing = TIMING) -> None:
        self.renderer = Renderer()
        self.journals: list[Journal] = []
        self.session = Session(
            app_id="default", session_id="call-77", now_us=T0_US, timing=timing, renderer=self.renderer,
            make_journal=self._make_journal,
        )  # fmt: skip

    def open(self, leg: str | None = "a", *, at_s: float = 0.0, handle: Handle | None = None, **said: object) -> Stream:
        """Open a stream; ``said`` is what else it says in its introduction."""
        started = introduction(leg, **said)  # type: ignore[arg-type]
        return self.session.open_stream(started, handle=handle or Handle(), now_us=at(at_s))

    def start(self, at_s: float = 0.0, options: RecordingOptions = OPTIONS) -> str:
        """Start a recording; its id."""
        recording = a_recording(options=options)
        self.session.start(recording, at(at_s))
        return recording.id

    @property
    def journal(self) -> list[object]:
        """What was journaled so far: see ``journaled``."""
        return [row for journal in self.journals for row in journaled(journal)]

    @property
    def events(self) -> list[JournalEvent]:
        """The events of it."""
        return [row for row in self.journal if not isinstance(row, tuple)]  # type: ignore[misc]

    def _make_journal(self, session: Session) -> Journal:
        self.journals.append(Journal(key=new_id(), app_id=session.app_id, session_id=session.session_id))
        return self.journals[-1]


def journaled(journal: Journal) -> list[object]:
    """What a journal was given: ``("frame", track, position)``, ``("withheld", track, position, samples)``,
    ``("clock", seconds)``, and events as they are."""
    journal.flush()
    rows: list[object] = []
    for entry in journal.queue:
        if not isinstance(entry, tuple):
            continue
        for item in items(entry[1]):
            if isinstance(item, EventRecord):
                rows.append(item.event)
            elif isinstance(item, ClockRecord):
                rows.append(("clock", (item.arrival_us - T0_US) / 1e6))
            elif item.samples is not None:
                places = zip(item.track.tolist(), item.position.tolist(), item.samples.tolist(), strict=True)
                rows.extend(("withheld", *place) for place in places)
            else:
                rows.extend(
                    ("frame", *place) for place in zip(item.track.tolist(), item.position.tolist(), strict=True)
                )
    return rows


def talk(stream: Stream, *, from_s: float, frames: int = 1, arrivals_s: list[float] | None = None) -> None:
    """Send frames of 20 ms that go on where the stream is, in real time or when ``arrivals_s`` says."""
    for number in range(frames):
        arrival_s = from_s + number * 0.02 if arrivals_s is None else arrivals_s[number]
        stream.frame(Frame(0, stream.position, 160, FRAME), at(arrival_s))
