"""Live sessions without sockets, folds and clocks: what they ask for is written down, what they journal is read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support import recordings
from tests.support.records import rows_of
from wavstream.catalog.catalog import Catalog
from wavstream.dialects.events import Frame, StreamStarted
from wavstream.errors import DependencyError
from wavstream.journal.events import JournalEvent, SessionState, StreamFacts
from wavstream.journal.frame_run import FrameRun
from wavstream.journal.journal import Journal
from wavstream.journal.records import ClockRecord, EventRecord, items
from wavstream.journal.writer import JournalWriter
from wavstream.model.audio import Channel, MediaFormat, Track, TrackClock
from wavstream.model.call import CallFacts
from wavstream.model.ids import new_id
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status
from wavstream.recorder.recorder import LiveRecordings, Recorder
from wavstream.recorder.recording import LiveRecording
from wavstream.sessions.deadlines import Timing
from wavstream.sessions.restored import Restored
from wavstream.sessions.session import Session, SessionStream
from wavstream.sessions.stream import Stream, facts_of
from wavstream.workers.tally import Tally

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
    """Return a moment of the call, as Unix time in microseconds."""
    return T0_US + round(seconds * 1e6)


@dataclass(slots=True)
class Handle:
    """A media socket that remembers what was done to it."""

    dialect: str = "pcm"
    heard_us: int = 0
    closed: list[tuple[int, str]] = field(default_factory=list)
    alive: bool | None = None
    """What it was last told of silence."""
    reading: bool = True
    drained_us: list[int] = field(default_factory=list)
    played: list[NDArray[np.int16]] = field(default_factory=list)

    def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    @property
    def takes_audio(self) -> bool:
        return True

    def play(self, samples: NDArray[np.int16], *, after: bool = False) -> None:
        self.played.append(samples)

    def keep_alive(self, on: bool) -> None:
        self.alive = on

    def drain(self, now_us: int) -> int:
        self.drained_us.append(now_us)
        return now_us

    def is_stale(self, now_us: int) -> bool:
        return False  # nothing waits in the kernel

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class QuietRecording(LiveRecording):
    """A real live recording whose file is finished when a test says so."""

    recorder: QuietRecorder

    async def save_journaled(self) -> None:
        with suppress(DependencyError):
            await self.save()

    def save_journaled_later(self) -> asyncio.Task[None]:
        self.save_later()
        return asyncio.create_task(asyncio.sleep(0))

    async def journaled(self) -> None:
        """Return at once: its journal is in memory."""

    def finish(self, stopped: Recording) -> asyncio.Task[Recording]:
        assert stopped.id not in self.recorder.ended, "a recording ends once"
        self.row = self.recorder.ended[stopped.id] = stopped
        finished = self.recorder.finished[stopped.id] = asyncio.get_running_loop().create_future()
        self.finishing = asyncio.create_task(self._as_finished(finished))
        return self.finishing

    async def _as_finished(self, finished: asyncio.Future[Recording]) -> Recording:
        self.row = await finished
        self.recorder.forget(self.row.id)
        self.ended.set_result(self.row)
        return self.row


class QuietRecorder(Recorder):
    """The real registry and real live recordings, without threads: what would be folded, published and saved is written
    down."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []
        """Recording and its first segment."""
        self.changed: list[Recording] = []
        """Rows as they were told the catalog, with nobody waiting for it."""
        self.advanced: list[list[Journal]] = []
        self.ended: dict[str, Recording] = {}
        """As they were stopped."""
        self.finished: dict[str, asyncio.Future[Recording]] = {}
        self.released: list[str] = []
        self.catalog: Catalog | None = None
        """Where rows are saved that somebody waits for; None: nowhere."""
        self.counts = Tally()
        self._live = LiveRecordings(self.counts)

    @property
    def fold_delays_s(self) -> dict[str, float]:
        return {}

    def accept(self, row: Recording) -> LiveRecording:
        quiet: Any = self
        recording = QuietRecording(row, registry=self._live, leases=quiet, render=quiet, publisher=quiet)
        recording.recorder = self
        return recording

    def begin(
        self, row: Recording, journal: Journal, *, first_segment: int, amendments: Iterable[EventRecord] = ()
    ) -> LiveRecording:
        recording = self._live.get(row.id) or self.accept(row)
        recording.row, recording.journal = row, journal
        self.begun.append((row.id, first_segment))
        return recording

    def fold(self, journals: Iterable[Journal]) -> None:
        self.advanced.append(list(journals))

    def release_failed(self, recording_id: str) -> None:
        self.released.append(recording_id)

    def until_released(self, recording_id: str) -> asyncio.Future[None]:
        released: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        released.set_result(None)
        return released

    def save_later(self, row: Recording) -> None:
        self.changed.append(row)

    async def try_save(self, row: Recording) -> None:
        if self.catalog is not None:
            try:
                await self.catalog.recordings.save(row)
            except DependencyError:
                self.save_later(row)
                raise

    def forget(self, recording_id: str) -> None:
        """Forget a recording whose file is there."""
        if recording_id in self._live:
            del self._live[recording_id]

    def finish(self, recording: Recording) -> None:
        """Finish the file: ``recording`` is what it ended up as."""
        self.finished[recording.id].set_result(recording)

    @property
    def ends(self) -> list[str | None]:
        """Why recordings ended, in order."""
        return [recording.end_reason for recording in self.ended.values()]


class QuietWriter(JournalWriter):
    """A writer whose thread does not run: journals stay in memory."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"), on_written=lambda _: None, on_pressure=lambda _: None)
        self.journals: list[Journal] = []
        """Those that were opened."""
        self.submitted: list[list[Journal]] = []

    def open(self, *, key: str, app_id: str, session_id: str, segment: int = 1, number: int | None = None) -> Journal:
        journal = super().open(key=key, app_id=app_id, session_id=session_id, segment=segment, number=number)
        self.journals.append(journal)
        return journal

    def submit(self, journals: Sequence[Journal]) -> None:
        for journal in journals:
            journal.flush()
        self.submitted.append(list(journals))


def a_recording(
    *, app_id: str = "default", session_id: str = "call-77", options: RecordingOptions = OPTIONS
) -> Recording:
    """Return a recording that was just asked for."""
    return recordings.a_recording(
        new_id(),
        options,
        status=Status.ACCEPTED,
        created_at=datetime.fromtimestamp(T0_US / 1e6, UTC),
        app_id=app_id,
        session_id=session_id,
        file_name="call-77.wav",
    )


def introduction(
    leg: str | None = "a", *, session_id: str = "call-77", tracks: tuple[Track, ...] = (Track.INBOUND,),
    clock: TrackClock = TrackClock.CONTIGUOUS, channel: Channel | None = None, call: CallFacts = CallFacts(),
    record: bool = False, keepalive: bool | None = None, returns_audio: bool = False, stream_id: str | None = None,
    wire_codec: str | None = None,
) -> StreamStarted:  # fmt: skip
    """Return what a stream of 8 kHz L16 says first."""
    return StreamStarted(
        session_id=session_id, leg=leg, format=MediaFormat(channels=len(tracks)), clock=clock, tracks=tracks,
        channel=channel, call=call, record=record, keepalive=keepalive, returns_audio=returns_audio,
        stream_id=stream_id, wire_codec=wire_codec,
    )  # fmt: skip


class LiveCall:
    """One session and all that it is handed."""

    def __init__(self, *, timing: Timing = TIMING) -> None:
        self.recorder = QuietRecorder()
        self.writer = QuietWriter()
        self.session = Session(
            app_id="default",
            session_id="call-77",
            now_us=T0_US,
            timing=timing,
            recorder=self.recorder,
            writer=self.writer,
        )

    def open(
        self, leg: str | None = "a", *, at_s: float = 0.0, handle: Handle | None = None, **said: object
    ) -> SessionStream:
        """Open a stream; ``said`` is what else it says in its introduction."""
        started = introduction(leg, **said)  # type: ignore[arg-type]
        return self.session.open_stream(started, handle=handle or Handle(), now_us=at(at_s))

    def start(self, at_s: float = 0.0, options: RecordingOptions = OPTIONS) -> str:
        """Start a recording; its id."""
        recording = a_recording(options=options)
        self.session.start(recording, at(at_s))
        return recording.id

    def live(self, recording_id: str) -> LiveRecording:
        """Return the recording while it runs or waits."""
        return self.session.recordings.by_id[recording_id]

    @property
    def running(self) -> dict[str, Recording]:
        """Rows of those that run, by id."""
        return {recording.row.id: recording.row for recording in self.session.recordings.running}

    @property
    def waiting(self) -> dict[str, Recording]:
        """Rows of those that wait for a stream, by id."""
        return {recording.row.id: recording.row for recording in self.session.recordings.waiting}

    @property
    def journal(self) -> list[object]:
        """What was journaled so far: see ``journaled``."""
        return [row for journal in self.writer.journals for row in journaled(journal)]

    @property
    def events(self) -> list[JournalEvent]:
        """The events of it that say something new."""
        return [row for row in self.journal if not isinstance(row, tuple | SessionState)]  # type: ignore[misc]


def restore(
    session: Session,
    recorder: Recorder,
    *running: Recording,
    journal: Journal,
    lost: list[str],
    legs: Sequence[str] = ("a",),
    next_stream: int = 2,
    next_track: int = 1,
    last_us: int,
    now_us: int,
    is_named: bool = True,
) -> None:
    """Bring a session back as a recovery does, with these recordings, which ran; ``is_named``: the legs it has lost."""
    live = [recorder.begin(replace(row, status=Status.ONGOING), journal, first_segment=1) for row in running]
    left = Restored(
        journal=journal,
        legs=[*legs],
        lost=[lost_stream(leg, is_named=is_named) for leg in lost],
        next_stream=next_stream,
        next_track=next_track,
        last_us=last_us,
    )
    session.restore(left, live, now_us)


def lost_stream(leg: str = "a", *, is_named: bool = True, dialect: str = "pcm", **said: object) -> StreamFacts:
    """Return what is known of a stream of this leg that was lost; ``said``: in its introduction."""
    started = introduction(leg if is_named else None, **said)  # type: ignore[arg-type]
    return facts_of(started, leg=leg, dialect=dialect, stream=1, first_track=0)


def journaled(journal: Journal) -> list[object]:
    """Return what a journal was given: ``("frame", track, position)``, ``("withheld", track, position, samples)``,
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
            elif not isinstance(item, FrameRun):
                raise AssertionError(f"a writer writes no {item}")
            else:
                # As they came: within a run they are sorted by track.
                for kind, track, _, position, *rest in sorted(rows_of(item), key=itemgetter(2)):
                    rows.append((kind, track, position, *rest) if item.withheld else (kind, track, position))
    return rows


def talk(stream: Stream, *, from_s: float, frames: int = 1, arrivals_s: list[float] | None = None) -> None:
    """Send frames of 20 ms that go on where the stream is, in real time or when ``arrivals_s`` says."""
    handle = stream.handle
    assert isinstance(handle, Handle)
    for number in range(frames):
        arrival_s = from_s + number * 0.02 if arrivals_s is None else arrivals_s[number]
        handle.heard_us = at(arrival_s)
        stream.frame(Frame(0, stream.position, 160, FRAME), handle.heard_us)
