"""The recordings of one session: they start, are paused, go on, and stop.

1. What frames meet is decided when the recordings change, never per frame: they are forgotten while none runs, withheld
   while all that run are paused, and journaled else (the rules of ``stream``).
2. A recording that is paused beside one that is not: the journal has what is said meanwhile, and the pause's record
   says so. It is said anew where that changes, since another recording has started or goes on.

Who holds a recording paused is in ``pauses``, what the journal is told in ``session_notes``. When the recordings of a
call end by themselves is the session's to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from wavstream.errors import LimitReached
from wavstream.journal import events
from wavstream.journal.events import PAUSED_BY_API, paused_by_leg
from wavstream.journal.journal import Journal
from wavstream.model.call import CallFacts
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.times import unix_us, utc
from wavstream.recorder.recorder import Recorder
from wavstream.recorder.recording import LiveRecording
from wavstream.sessions.intake import MAX_PAUSES
from wavstream.sessions.legs import Legs, RecordingTone
from wavstream.sessions.no_stream import no_stream_error
from wavstream.sessions.pauses import AskedResume, Pauses, all_paused
from wavstream.sessions.session_notes import SessionNotes
from wavstream.sessions.stream import Stream

log = structlog.get_logger(__name__)


class SessionRecordings:
    """Those that run, and those that wait for the first stream."""

    __slots__ = ("_legs", "_notes", "_recorder", "_streams", "_tone", "by_id", "pauses")

    def __init__(self, recorder: Recorder, *, notes: SessionNotes, streams: Sequence[Stream], legs: Legs) -> None:
        """Begin without a recording; ``streams`` and ``legs`` are the session's own, which change."""
        self.by_id: dict[str, LiveRecording] = {}
        self.pauses = Pauses()
        self._recorder = recorder
        self._notes = notes
        self._streams = streams
        self._legs = legs
        self._tone = RecordingTone()

    @property
    def running(self) -> list[LiveRecording]:
        """Ongoing and paused recordings."""
        return [recording for recording in self.by_id.values() if recording.is_under_way]

    @property
    def waiting(self) -> list[LiveRecording]:
        """Accepted recordings: they start with the first stream."""
        return [recording for recording in self.by_id.values() if not recording.is_under_way]

    @property
    def is_followed(self) -> bool:
        """Whether somebody listens to one of them."""
        return any(recording.job is not None and recording.job.is_followed for recording in self.by_id.values())

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for what the fold of one of them finds out: a listener, or whoever has set its end."""
        return self.is_followed or any(recording.row.options.may_end for recording in self.by_id.values())

    # ---- start -------------------------------------------------------------------------------------------------

    def accept(self, recording: Recording) -> LiveRecording:
        """Let a recording wait for the first stream."""
        accepted = self.by_id[recording.id] = self._recorder.accept(recording)
        log.info(
            "recording_accepted",
            recording_id=recording.id,
            session_id=recording.session_id,
            app_id=recording.app_id,
        )
        return accepted

    def begin(self, recording: Recording, now_us: int, *, call: CallFacts) -> LiveRecording:
        """Start a recording now; ``call``: what is known of the call, beside what the recording itself knows."""
        call = call.merged(recording.call)
        recording = recording.became(Status.ONGOING, utc(now_us), started_at=utc(now_us), call=call)
        notes = self._notes
        journal = notes.journal_of_start(now_us)
        begun = self._recorder.begin(recording, journal, first_segment=journal.segment)
        self.by_id[recording.id] = begun
        notes.is_recording = True
        notes.note(
            now_us,
            events.RecordingStarted(
                recording=recording,
                streams=tuple(stream.snapshot() for stream in self._streams),
                leg_order=tuple(self._legs.names),
                returns_beep=self._tone.start(recording, self._streams),
            ),
        )
        notes.left_out.is_news = bool(notes.left_out.facts or notes.left_out.events)
        self._note_paused_beside(now_us)
        self._apply_rules()
        log.info(
            "recording_started", recording_id=recording.id, session_id=recording.session_id, app_id=recording.app_id
        )
        return begun

    def join(self, stream: Stream, now_us: int) -> None:
        """Let a stream that has just opened take part in what runs."""
        if self._notes.is_recording:
            self._notes.note(now_us, events.StreamOpened(facts=stream.facts))
            self._tone.join(stream)
            self._apply_rules()

    def restore(
        self, running: list[LiveRecording], *, journal: Journal, paused_by: Mapping[str, frozenset[str]]
    ) -> None:
        """Go on with what ran before a restart, in this journal; all legs so far have heard the tone."""
        self.by_id |= {recording.row.id: recording for recording in running}
        self._notes.journal = journal
        self._notes.is_recording = bool(self.running)
        self.pauses.restore({each: holders for each, holders in paused_by.items() if each in self.by_id})
        self._tone.heard([recording.row for recording in running], self._legs.names)

    # ---- pauses ------------------------------------------------------------------------------------------------

    def pause(
        self,
        recording: LiveRecording,
        now_us: int,
        behavior: PauseBehavior | None = None,
        *,
        held_by: str = PAUSED_BY_API,
    ) -> Recording:
        """Pause a recording: from here on nothing of the call belongs to it. One that is paused is held by one more.

        ``behavior``: what this pause and those after it leave in the file; None: what the recording's options say.
        """
        self.pauses.owed = None
        holders = self.pauses.holders(recording.row) | {held_by}
        row = recording.row
        if row.status is Status.ONGOING:
            row = recording.set_status(Status.PAUSED, now_us, pause_behavior=behavior)
            log.info("recording_paused", recording_id=row.id, session_id=row.session_id, app_id=row.app_id, by=held_by)
        self._note_paused(recording, holders, now_us)
        self._apply_rules()
        return row

    def resume(self, recording: LiveRecording, now_us: int) -> Recording:
        """Let a paused recording go on, whoever paused it (rule 2 of ``pauses``).

        Raises LimitReached where it was paused too often: it stays paused.
        """
        if recording.pauses >= MAX_PAUSES:
            raise LimitReached(f"it was paused {MAX_PAUSES} times, as often as it may: stop it", retry_after_s=60)
        was_withheld = all_paused(self.running)
        self.pauses.end(recording.row.id)
        row = recording.set_status(Status.ONGOING, now_us)
        self._notes.note(now_us, events.RecordingResumed(recording_id=row.id))
        self._note_paused_beside(now_us)
        self._apply_rules(pause_end_us=now_us if was_withheld else None)
        log.info("recording_resumed", recording_id=row.id, session_id=row.session_id, app_id=row.app_id)
        return row

    def pause_all(self, now_us: int, *, leg: str) -> None:
        """Hold every recording paused: the media server of this leg asks for it."""
        self.pauses.owed = None
        for recording in self.running:
            if not self.pauses.is_held_by_leg(recording.row, leg):
                was_ongoing = recording.row.status is Status.ONGOING
                self.pause(recording, now_us, held_by=paused_by_leg(leg))
                if was_ongoing:
                    recording.save_journaled_later()

    def resume_all(self, now_us: int, *, leg: str) -> None:
        """Let go of what this leg's media server paused; what nobody else holds goes on (rule 1 of ``pauses``)."""
        for recording in self.running:
            if not self.pauses.is_held_by_leg(recording.row, leg):
                continue
            if left := self.pauses.holders_without(recording.row, leg):
                self._note_paused(recording, left, now_us)
            elif recording.pauses < MAX_PAUSES:
                self.resume(recording, now_us)
                recording.save_journaled_later()

    def resume_when_allowed(self, now_us: int, asked: AskedResume) -> None:
        """Resume for a leg now, or owe it that until its stream may send an event again (rule 3 of ``intake``)."""
        if asked.allowance.take(now_us):
            self.pauses.owed = None
            self.resume_all(now_us, leg=asked.leg)
        else:
            self.pauses.owed = asked

    # ---- end ---------------------------------------------------------------------------------------------------

    def cancel(self, recording: LiveRecording, now_us: int, similar: Sequence[str] | None = None) -> Recording:
        """End an accepted recording that no stream has come for: there will be no file.

        ``similar`` as ``give_up_waiting`` takes it.
        """
        return self._end_waiting(recording, EndReason.STOPPED, now_us, similar)

    def take_back(self, recording: LiveRecording, now_us: int) -> None:
        """End a recording whose start was not answered as safe: it ends where it began, so there will be no file."""
        assert recording.row.started_at is not None
        self.stop(recording, EndReason.STOPPED, now_us, end_us=unix_us(recording.row.started_at), cuts=True)

    def give_up_waiting(self, now_us: int, similar: Sequence[str] | None = None) -> None:
        """End the accepted recordings: the stream that they wait for does not come.

        ``similar``: the ids of sessions of the app that streamed meanwhile and are like this one's; None: nobody
        looked.
        """
        for recording in self.waiting:
            self._end_waiting(recording, EndReason.NO_STREAM, now_us, similar)
            recording.save_later()

    def _end_waiting(
        self, recording: LiveRecording, reason: EndReason, now_us: int, similar: Sequence[str] | None
    ) -> Recording:
        row = recording.row
        waited_us = now_us - unix_us(row.created_at)
        error = no_stream_error(session_id=row.session_id, waited_us=waited_us, similar=similar)
        del self.by_id[row.id]
        return recording.cancel(
            row.became(Status.ABSENT, utc(now_us), end_reason=reason, ended_at=utc(now_us), error=error)
        )

    def stop(
        self,
        recording: LiveRecording,
        reason: EndReason,
        now_us: int,
        *,
        end_us: int | None = None,
        cuts: bool = False,
    ) -> asyncio.Task[Recording]:
        """End a running recording; silence is written up to ``end_us`` (default: now) where there is no audio.

        ``cuts``: audio after it is not in the file either.
        """
        end_us = now_us if end_us is None else end_us
        recording_id = recording.row.id
        self._notes.active_us = now_us
        self._notes.note_left_out(now_us)
        paused = recording.row.status is Status.PAUSED
        late_us = self._notes.late_us(now_us)
        stop = events.RecordingStopped(
            recording_id=recording_id, reason=reason, end_us=end_us, cuts=cuts, paused=paused, late_us=late_us
        )
        end = recording.stop(stop, now_us)
        del self.by_id[recording_id]
        self._notes.is_recording = bool(self.running)
        self.pauses.end(recording_id)
        self._tone.end(recording_id)
        self._apply_rules()
        return end

    def stop_all(self, reason: EndReason, now_us: int, *, end_us: int | None = None) -> list[asyncio.Task[Recording]]:
        """End all running recordings."""
        return [self.stop(recording, reason, now_us, end_us=end_us) for recording in self.running]

    def detach(self, now_us: int) -> bool:
        """Note that the server goes down, and take in nothing more; return whether anything was running."""
        was_running = self._notes.is_recording
        self._notes.note(now_us, events.ServerStopped())
        self._notes.is_recording = False
        self.by_id = {}
        for stream in self._streams:
            stream.forget_frames()
        return was_running

    # ---- time --------------------------------------------------------------------------------------------------

    def note_state(self, now_us: int) -> None:
        """Say again in the journal what there is (rule 3 of ``session_notes``)."""
        state = events.SessionState(
            recordings=tuple(recording.row for recording in self.running),
            streams=tuple(stream.snapshot() for stream in self._streams),
            leg_order=tuple(self._legs.names),
        )
        self._notes.note_state(now_us, state)

    # ---- within ------------------------------------------------------------------------------------------------

    def _apply_rules(self, *, pause_end_us: int | None = None) -> None:
        """Decide what frames meet from here on; ``pause_end_us``: when a pause of all recordings has just ended."""
        running, journal = self.running, self._notes.journal
        for stream in self._streams:
            if not running or journal is None:
                stream.forget_frames()
            elif all_paused(running):
                stream.withhold_frames(journal.append)
            elif pause_end_us is not None:
                stream.guard_frames(journal.append, pause_end_us)
            else:
                stream.journal_frames(journal.append)
            asked = stream.wants_silence
            stream.handle.keep_alive(any(each.row.keepalive if asked is None else asked for each in running))

    def _note_paused(self, recording: LiveRecording, holders: frozenset[str], now_us: int) -> None:
        """Note who holds a recording paused, and whether the journal has what is said meanwhile (rule 2)."""
        journaled = not all_paused(self.running)
        self._notes.note(now_us, self.pauses.hold(recording.row, holders, journaled=journaled))

    def _note_paused_beside(self, now_us: int) -> None:
        """Note in the journal that it holds what is said in the pauses of others from here on: a recording runs."""
        for recording in self.running:
            if recording.row.status is Status.PAUSED:
                self._note_paused(recording, self.pauses.holders(recording.row), now_us)
