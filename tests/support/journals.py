"""Journals on a disk as a killed server leaves them: written by the real writer, from a list of records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.support.records import frame_record
from tests.support.sessions import T0_US, a_recording, at
from tests.support.speech import noise as noise
from wavstream.journal import events
from wavstream.journal.journal import Journal
from wavstream.journal.records import RecordKind, clock_record, event_record
from wavstream.journal.writer import JournalWriter
from wavstream.model.audio import MediaFormat, Track, TrackClock
from wavstream.model.ids import new_id
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc

RATE_HZ = 8000
FRAME = 160


def nothing(*_: object) -> None:
    """Do nothing: a callback that nobody needs."""


def a_writer(folder: Path) -> JournalWriter:
    """Return a writer that runs; stop it."""
    writer = JournalWriter(folder, on_written=nothing, on_pressure=nothing)
    writer.start()
    return writer


def a_leg(leg: str = "a", *, stream: int = 1, tracks: Sequence[Track] = (Track.INBOUND,)) -> events.StreamFacts:
    """Return the facts of a stream of 8 kHz L16."""
    return events.StreamFacts(
        stream=stream, leg=leg, dialect="pcm", format=MediaFormat(channels=len(tracks)), clock=TrackClock.CONTIGUOUS,
        tracks=tuple(tracks), first_track=2 * stream,
    )  # fmt: skip


def started(recording: Recording, *, at_s: float = 0.0) -> Recording:
    """Return the recording as its start record has it."""
    return replace(recording, status=Status.ONGOING, started_at=utc(at(at_s)))


def call(
    *recordings: Recording, leg: str = "a", length_s: float = 1.0, samples: NDArray[np.int16] | None = None,
    stop: EndReason | None = None, from_s: float = 0.0,
) -> list[bytes]:  # fmt: skip
    """Return the records of a call of one leg, which all these recordings record; ``stop``: why they ended, if so."""
    voice = noise(length_s) if samples is None else samples
    facts = a_leg(leg)
    rows = [_event(from_s, events.RecordingStarted(recording=each, streams=(), leg_order=())) for each in recordings]
    rows.append(_event(from_s, events.StreamOpened(facts=facts)))
    for number in range(len(voice) // FRAME):
        arrival_us = at(from_s + number * FRAME / RATE_HZ)
        frame = voice[number * FRAME : (number + 1) * FRAME].tobytes()
        rows.append(
            frame_record(track=facts.first_track, arrival_us=arrival_us, position=number * FRAME, payload=frame)
        )
        if number % 25 == 24:
            rows.append(clock_record(arrival_us))
    end_us = at(from_s + len(voice) / RATE_HZ)
    if stop is not None:
        for each in recordings:
            record = events.RecordingStopped(recording_id=each.id, reason=stop, end_us=end_us)
            rows.append(event_record(end_us, record))
    return rows


def happened(at_s: float, event: events.JournalEvent) -> bytes:
    """One event."""
    return _event(at_s, event)


def leave(folder: Path, *parts: Iterable[bytes], session_id: str = "call-77", app_id: str = "default") -> str:
    """Write a journal of which each part is a segment, and leave it; its key."""
    writer = a_writer(folder)
    journal = writer.open(key=new_id(), app_id=app_id, session_id=session_id)
    for part in parts:
        journal.rotate()
        append(journal, part)
        writer.submit([journal])
    writer.stop()
    return journal.key


def append(journal: Journal, rows: Iterable[bytes]) -> None:
    """Add records to a live journal."""
    for row in rows:
        if row[4] == RecordKind.EVENT:
            journal.append_event(row)
        else:
            journal.append(row)


def a_started_recording(**more: str) -> Recording:
    """One that runs."""
    return started(a_recording(**more))  # type: ignore[arg-type]


Now = Callable[[], int]


def now_s(seconds: float) -> Now:
    """Return a clock that stands still."""
    return lambda: T0_US + round(seconds * 1e6)


def _event(at_s: float, event: events.JournalEvent) -> bytes:
    return event_record(at(at_s), event)
