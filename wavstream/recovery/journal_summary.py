"""What a journal tells of its session when it is read again: its recordings, legs and streams."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from wavstream.journal import events, records
from wavstream.journal.amendments import amendment
from wavstream.journal.frame_run import FrameRun
from wavstream.journal.outline import OutlinedJournal
from wavstream.journal.reader import READ_BYTES, TRIES, JournalReader, read_header
from wavstream.journal.records import BrokenSegment, EventRecord, SegmentHeader
from wavstream.journal.segments import segments_of
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import utc

RETRY_S = 0.1
"""A second in all, before something counts as damaged: it runs beside live calls, and nobody waits."""


@dataclass(slots=True)
class JournalSummary:
    """What a journal tells of its session."""

    header: SegmentHeader
    recordings: dict[str, Recording] = field(default_factory=dict)
    """As the journal knows them: ongoing, paused or completed."""
    first_segments: dict[str, int] = field(default_factory=dict)
    """A segment at or before each recording's start."""
    paused_by: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By recording that is paused: who wants it paused."""
    legs: list[str] = field(default_factory=list)
    """In order of arrival."""
    streams: dict[int, events.StreamFacts] = field(default_factory=dict)
    """By number: the streams that were open, or lost and awaited."""
    next_stream: int = 1
    next_track: int = 0
    last_us: int = 0
    """The last arrival."""
    turned_us: dict[str, int] = field(default_factory=dict)
    """When each recording began, was paused or resumed last."""
    amendments: list[records.EventRecord] = field(default_factory=list)
    """Events that count from an earlier moment than that of their record."""
    last_segment: int = 0
    next_number: int = 0
    """Of the batch that is to follow."""
    problems: list[str] = field(default_factory=list)
    """What could not be read, a sentence each."""
    is_damaged: bool = False
    """Whether more of it is missing than a crash tears."""

    @property
    def lost(self) -> list[events.StreamFacts]:
        """The newest stream of each leg that was there at the end, and may come back; by name."""
        newest = {facts.leg: facts for facts in self.streams.values()}
        return [newest[leg] for leg in sorted(newest)]

    def take(self, item: records.Item, *, segment: int) -> None:
        """Learn from one item, read from ``segment`` or a later one."""
        if isinstance(item, FrameRun):
            self.last_us = max(self.last_us, item.last_us)
            return
        self.last_us = item.arrival_us
        if isinstance(item, EventRecord):
            self._learn(item.event, item.arrival_us, segment)

    def _learn(self, event: events.JournalEvent, arrival_us: int, segment: int) -> None:
        match event:
            case events.RecordingStarted(recording=recording, streams=streams, leg_order=leg_order):
                self.recordings[recording.id] = recording
                self.turned_us[recording.id] = arrival_us
                self.first_segments[recording.id] = segment
                for leg in leg_order:
                    self._see_leg(leg)
                for stream in streams:
                    self._see_stream(stream.facts)
            case events.StreamOpened(facts=facts):
                self._see_stream(facts)
            case events.StreamClosed(stream=stream, clean=True):
                self.streams.pop(stream, None)
            case events.RecordingPaused(
                recording_id=recording_id, behavior=behavior, held_by=held_by, since_us=since_us
            ):
                self.paused_by[recording_id] = held_by
                self._amend(event)
                self._turn(recording_id, Status.PAUSED, arrival_us if since_us is None else since_us, behavior)
            case events.RecordingResumed(recording_id=recording_id):
                self._turn(recording_id, Status.ONGOING, arrival_us)
            case events.RecordingStopped(recording_id=recording_id, reason=reason, since_us=since_us):
                self._amend(event)
                self._stop(recording_id, reason, arrival_us if since_us is None else since_us)

    def _see_leg(self, leg: str) -> None:
        if leg not in self.legs:
            self.legs.append(leg)

    def _see_stream(self, facts: events.StreamFacts) -> None:
        self._see_leg(facts.leg)
        # A leg that came back has one stream of each track that counts: the last.
        for number, older in list(self.streams.items()):
            if older.leg == facts.leg and set(older.tracks) & set(facts.tracks):
                del self.streams[number]
        self.streams[facts.stream] = facts
        self.next_stream = max(self.next_stream, facts.stream + 1)
        self.next_track = max(self.next_track, facts.first_track + len(facts.tracks))

    def _turn(self, recording_id: str, status: Status, arrival_us: int, behavior: PauseBehavior | None = None) -> None:
        known = self.recordings.get(recording_id)
        # A pause is noted again where another recording starts beside it: it has lasted longer than that.
        if known is None or known.status is status:
            return
        self.turned_us[recording_id] = arrival_us
        options = known.options if behavior is None else replace(known.options, pause_behavior=behavior)
        self.recordings[recording_id] = known.became(status, utc(arrival_us), options=options)

    def _amend(self, event: events.RecordingPaused | events.RecordingStopped) -> None:
        if event.since_us is not None:
            self.amendments.append(amendment(event))

    def _stop(self, recording_id: str, reason: EndReason, arrival_us: int) -> None:
        if recording_id in self.recordings:
            ended_at = utc(arrival_us)
            self.recordings[recording_id] = self.recordings[recording_id].became(
                Status.COMPLETED, ended_at, end_reason=reason, ended_at=ended_at
            )


def read_headers(
    folder: Path, keys: Iterable[str], *, sleep: Callable[[float], None] = time.sleep
) -> dict[str, SegmentHeader | BrokenSegment | OSError]:
    """Return the header of each journal, or why it has none. What the disk refuses is asked for again.

    All that it refused are asked again together: a disk that gives nothing costs a start one second, not one each.
    """
    found: dict[str, SegmentHeader | BrokenSegment | OSError] = {}
    waiting = list(keys)
    for again in range(TRIES + 1):
        if again:
            sleep(RETRY_S)
        for key in waiting:
            try:
                found[key] = read_header(folder, key)
            except (BrokenSegment, OSError) as error:
                found[key] = error
        waiting = [key for key in waiting if _may_pass(found[key])]
        if not waiting:
            break
    return found


def _may_pass(answer: SegmentHeader | Exception) -> bool:
    # A file that is not there was deleted by another worker.
    return isinstance(answer, OSError) and not isinstance(answer, FileNotFoundError)


def read_summary(folder: Path, key: str, *, known: Sequence[Recording] = ()) -> JournalSummary:
    """Read a journal for its facts; raise BrokenSegment if it cannot be understood, or OSError.

    ``known``: what the catalog has of recordings whose start may be damaged.
    """
    header = read_headers(folder, [key])[key]
    if isinstance(header, Exception):
        raise header
    facts = JournalSummary(header)
    reader = JournalReader(folder, key, known=known)
    try:
        for segment, found in read_patiently(reader):
            for item in found:
                facts.take(item, segment=segment)
        reader.end()
        facts.next_number = reader.next_number
    except msgspec.MsgspecError as error:
        raise BrokenSegment(f"segment {reader.position.segment}: an event that is not known here ({error})") from error
    finally:
        reader.close()
    facts.last_segment = max(segments_of(folder, key))
    facts.problems, facts.is_damaged = reader.problems, reader.is_damaged
    return facts


def summary_of(journal: OutlinedJournal) -> JournalSummary:
    """Return what an outline tells of a journal; raise msgspec.MsgspecError for an event that is not known here."""
    outline = journal.outline
    header = SegmentHeader(
        key=journal.key,
        app_id=journal.app_id,
        session_id=journal.session_id,
        segment=outline.segment,
        created_us=outline.last_us,
    )
    facts = JournalSummary(header)
    for told in outline.told:
        for item in records.items(told.record):
            facts.take(item, segment=told.segment)
    facts.last_us, facts.last_segment, facts.next_number = outline.last_us, journal.segment - 1, journal.number
    return facts


def read_patiently(reader: JournalReader, *, max_bytes: int = READ_BYTES) -> Iterator[tuple[int, list[records.Item]]]:
    """Yield what is read of a journal that nobody writes to, each with the segment in which that read began.

    What the disk refuses is tried again, until the reader takes it for damaged; raise OSError if it is we who lack
    something.
    """
    failures = 0
    while True:
        segment = reader.position.segment
        try:
            found = reader.read(max_bytes=max_bytes)
        except OSError:
            failures += 1
            if failures > TRIES:
                raise
            time.sleep(RETRY_S)
            continue
        failures = 0
        if found:
            yield segment, found
        elif reader.at_end:  # a second look, that finds nothing: no later segment is there
            return
