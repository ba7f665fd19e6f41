"""One call: its streams come and go, and with the last of them its recordings end.

Its recordings end when no stream is open and no leg is away (lost, and awaited for the reconnect wait):

1. The last stream ended by its own will: the recordings end as ``hangup``.
2. The wait for the last leg ran out: they end as ``disconnected`` (``recovered`` if a restart of ours lost it), and the
   file ends where the last stream did, not where the waiting did.

What is done to its recordings is in ``session_recordings``, who holds one paused in ``pauses``, what its journal is
told in ``session_notes``. Every method takes ``now_us`` (Unix time in microseconds that never goes back); nothing here
reads a clock or waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import numpy as np
import structlog
from numpy.typing import NDArray

from wavstream.dialects.events import CallInfo, Dtmf, Event, Mark, Paused, Resumed, StreamStarted
from wavstream.errors import LimitReached
from wavstream.journal import events
from wavstream.journal.events import StreamFacts
from wavstream.journal.writer import JournalWriter
from wavstream.model.call import CallFacts
from wavstream.model.recording import EndReason, Recording
from wavstream.model.times import unix_us
from wavstream.recorder.recorder import Recorder
from wavstream.recorder.recording import LiveRecording
from wavstream.sessions.deadlines import Expectation, SessionDeadlines, Timing
from wavstream.sessions.draining import Draining
from wavstream.sessions.intake import MAX_STREAMS, EventAllowance
from wavstream.sessions.legs import Legs
from wavstream.sessions.pauses import AskedResume
from wavstream.sessions.ports import StreamHandle
from wavstream.sessions.restored import Restored
from wavstream.sessions.session_notes import SessionNotes
from wavstream.sessions.session_recordings import SessionRecordings
from wavstream.sessions.stream import Stream, facts_of

log = structlog.get_logger(__name__)

Similar = Callable[["Session", Sequence[LiveRecording], int], Sequence[str] | None]


class Session:
    """The live state of one call of one app."""

    def __init__(
        self,
        *,
        app_id: str,
        session_id: str,
        now_us: int,
        timing: Timing,
        recorder: Recorder,
        writer: JournalWriter,
        turn: int = 0,
        unread_us: int = 0,
        late_us: Callable[[int], int] = lambda now_us: 0,
        similar: Similar = lambda session, waiting, now_us: (),
        in_vain: Counter[str] | None = None,
    ) -> None:
        """Begin without a stream; ``FoldSchedule`` says what ``turn`` is, ``tick`` what ``unread_us`` is.

        ``late_us`` returns how late anything may have been read lately, by our own fault, at a moment.

        ``similar`` says which ids like this one streamed while these recordings waited; None: it cannot be looked now.
        ``in_vain`` counts waits in vain by what it said.
        """
        self.app_id = app_id
        self.session_id = session_id
        self.created_us = now_us
        self.listed_us = 0  # when it was made, later than any that was made before it here: its place in lists
        self.call = CallFacts()
        self.legs = Legs()
        self.streams: list[SessionStream] = []
        """The open ones."""
        self.draining = Draining(self.streams)
        self.notes = SessionNotes(
            writer, app_id=app_id, session_id=session_id, now_us=now_us, turn=turn, late_us=late_us
        )
        self.recordings = SessionRecordings(recorder, notes=self.notes, streams=self.streams, legs=self.legs)
        self.was_recorded = False
        """Whether there has been a recording, or one waits."""
        self._streams_gone = asyncio.Event()
        self._streams_gone.set()
        self._last_stream_end_us = now_us
        self._next_stream = 1
        self._next_track = 0
        self._timing = timing
        self._deadlines = SessionDeadlines(timing)
        self._inspect_us = now_us
        """When one of the streams is to be looked at, at the earliest."""
        self._unread_us = unread_us
        self._similar = similar
        self._in_vain = Counter() if in_vain is None else in_vain

    # ---- streams -----------------------------------------------------------------------------------------------

    def open_stream(self, started: StreamStarted, *, handle: StreamHandle, now_us: int) -> SessionStream:
        """Take in a stream that has introduced itself; raise LimitReached where the call has had too many."""
        leg = self.legs.name_of(started, dialect=handle.dialect)
        if self._next_stream > MAX_STREAMS:
            raise LimitReached(f"the call has had {MAX_STREAMS} streams, as many as it may", retry_after_s=60)
        self.legs.check_room(leg)
        self.notes.active_us = now_us
        facts = facts_of(
            started, leg=leg, dialect=handle.dialect, stream=self._next_stream, first_track=self._next_track
        )
        now_us = self._replace_streams_of(facts, started.stream_id, now_us)
        self._next_stream += 1
        self._next_track += len(started.tracks)
        self.learn(started.call)
        self._deadlines.end()
        self.legs.arrive(leg)
        stream = SessionStream(self, facts=facts, handle=handle, joined_us=now_us, started=started)
        self.streams.append(stream)
        self._inspect_us = now_us
        self._streams_gone.clear()
        self.recordings.join(stream, now_us)
        for recording in self.recordings.waiting:
            self.recordings.begin(recording.row, now_us, call=self.call).save_journaled_later()
        return stream

    def awaits(self, started: StreamStarted, *, dialect: str) -> bool:
        """Return whether a stream that introduces itself is a leg come back, or takes the place of an open stream."""
        leg = self.legs.name_of(started, dialect=dialect)
        facts = facts_of(started, leg=leg, dialect=dialect, stream=0, first_track=0)
        return leg in self.legs.away or any(stream.gives_way_to(facts, started.stream_id) for stream in self.streams)

    def stream_closed(self, stream: SessionStream, *, clean: bool, now_us: int) -> None:
        """Note that a stream is over, by its own will or not."""
        if stream not in self.streams:
            return
        self.streams.remove(stream)
        stream.forget_frames()
        self._last_stream_end_us = max(self._last_stream_end_us, stream.ended_us(now_us))
        self.notes.note_closed(now_us, stream.facts.stream, clean=clean)
        leg_streams = any(other.facts.leg == stream.facts.leg for other in self.streams)
        if not clean and not leg_streams:
            self.legs.lose(stream.facts, deadline_us=now_us + self._timing.reconnect_wait_us)
        if not self.streams:
            self._streams_gone.set()
            if not self.legs.away:
                self._end_recordings(EndReason.HANGUP, now_us)  # rule 1

    async def wait_until_streams_gone(self, timeout_s: float) -> None:
        """Wait until no stream is open. However they went, they are not waited for, and their legs begin anew."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._streams_gone.wait()
        if not self.streams:
            self.legs.begin_anew()

    # ---- recordings --------------------------------------------------------------------------------------------

    def start(self, recording: Recording, now_us: int) -> LiveRecording:
        """Start a recording now, or as soon as the first stream is there."""
        self.was_recorded = True
        if self.streams:
            return self.recordings.begin(recording, now_us, call=self.call)
        self._deadlines.expect_stream(now_us)
        return self.recordings.accept(recording)

    # ---- sound -------------------------------------------------------------------------------------------------

    def playable_rates(self) -> set[int]:
        """Return the rates, in hertz, of the streams that take audio."""
        return {stream.facts.format.rate_hz for stream in self.streams if stream.handle.takes_audio}

    def play(self, sound: Mapping[int, NDArray[np.int16]], *, after: bool) -> int:
        """Play a sound, mono samples (n,) by their rate, to every stream that takes audio; return how many play it.

        ``after``: behind what they are playing, else in place of it. A stream of another rate than these plays nothing.
        """
        hearing = [
            stream for stream in self.streams if stream.handle.takes_audio and stream.facts.format.rate_hz in sound
        ]
        for stream in hearing:
            stream.handle.play(sound[stream.facts.format.rate_hz], after=after)
        return len(hearing)

    # ---- what is known of the call -----------------------------------------------------------------------------

    def learn(self, call: CallFacts) -> None:
        """Add to what is known of the call, as far as there is room."""
        self.call = self.call.merged(call)
        missing = self.call.missing_of(call)
        if missing:
            self.notes.left_out.add_facts(missing, session_id=self.session_id, app_id=self.app_id)

    def announce(self, now_us: int) -> None:
        """Keep the session though nobody streams it: there is a call, or it goes on."""
        self._deadlines.was_announced = True
        if not self.streams:
            self._deadlines.announce(now_us)
        self.notes.active_us = now_us

    def announce_again(self, now_us: int) -> None:
        """Keep a session whose streams are asked to end."""
        self._deadlines.announce(now_us)

    @property
    def was_announced(self) -> bool:
        """Whether it was announced ever, also while it streamed."""
        return self._deadlines.was_announced

    @property
    def announced_until_us(self) -> int | None:
        """Until when it is kept as announced; None: it is not, or not any more."""
        return self._deadlines.announced_until_us

    def expect_stream(self, now_us: int) -> Expectation:
        """Keep the session for a start that asks for a stream; return what ``take_back`` wants if the start fails."""
        return self._deadlines.expect_stream(now_us) if not self.streams else self._deadlines.expectation

    def take_back(self, expectation: Expectation) -> None:
        """Wait for no stream that only a start which has failed has asked for."""
        if not self.recordings.waiting:
            self._deadlines.take_back(expectation)

    # ---- time --------------------------------------------------------------------------------------------------

    def tick(self, now_us: int, *, unread_us: int = 0) -> bool:
        """Let time pass, about every 150 ms; return whether enough has been journaled to be worth a fold.

        ``unread_us``: how much time there has been in all, since the server's start, in which nothing was read.
        """
        if unread_us != self._unread_us:
            self._put_off(unread_us)
        notes = self.notes
        now_us = self.draining.drain(now_us) if self.recordings.is_followed else self.draining.drain_stale(now_us)
        is_fold_due = notes.tick(now_us, is_awaited=self.recordings.is_awaited)
        if notes.is_state_due:
            self.recordings.note_state(now_us)
        if notes.schedule.window_is_over(now_us):
            for stream in self.streams:
                stream.turn_window()
        if now_us >= self._inspect_us:
            self._inspect(now_us)
        if notes.left_out.is_news:
            notes.note_left_out(now_us)
        if self.recordings.pauses.owed is not None:
            self.recordings.resume_when_allowed(now_us, self.recordings.pauses.owed)
        if self.legs.away:
            self._give_up_legs(now_us)
        if self._deadlines.run_out(now_us):
            self._give_up_waiting(now_us)
        return is_fold_due

    @property
    def is_idle(self) -> bool:
        """Whether it has no stream, no recording, and waits for none: at most it is announced."""
        return not (self.streams or self.legs.away or self.recordings.by_id or self._deadlines.stream_by_us is not None)

    @property
    def is_over(self) -> bool:
        """Whether nothing keeps the session."""
        return self.is_idle and self._deadlines.announced_until_us is None

    def _inspect(self, now_us: int) -> None:
        """Look at the streams where that is due, and note when it will be next."""
        next_us: list[int] = []
        for stream in self.streams:
            suspicions = stream.inspect(now_us)
            next_us.append(stream.inspection.next_us)
            for suspicion in suspicions:
                log.warning(
                    "stream_suspicious",
                    session_id=self.session_id,
                    app_id=self.app_id,
                    leg=stream.facts.leg,
                    suspicion=suspicion,
                )
        self._inspect_us = min(next_us, default=now_us)

    def is_ahead(self, now_us: int) -> bool:
        """Return whether one of its streams has sent audio that cannot have been said by now."""
        return any(stream.is_ahead(now_us) for stream in self.streams)

    def _put_off(self, unread_us: int) -> None:
        """Wait so much longer for what may come: meanwhile it could not."""
        lost_us, self._unread_us = unread_us - self._unread_us, unread_us
        self.notes.put_off(lost_us)
        self.legs.put_off(lost_us)
        self._deadlines.put_off(lost_us)

    def _give_up_waiting(self, now_us: int) -> None:
        """End the recordings whose stream does not come, and say what streamed in its place."""
        if waiting := self.recordings.waiting:
            similar = self._similar(self, waiting, now_us)
            if similar is not None or not self._deadlines.wait_for_look(now_us):
                self._in_vain["not_looked" if similar is None else "yes" if similar else "no"] += 1
                self.recordings.give_up_waiting(now_us, similar)

    def cancel(self, recording: LiveRecording, now_us: int) -> Recording:
        """End an accepted recording that no stream has come for, by a command, and say what streamed in its place."""
        return self.recordings.cancel(recording, now_us, self._similar(self, [recording], now_us))

    def streamed_since(self, since_us: int) -> bool:
        """Return whether it had a stream at that moment or later."""
        return bool(self.streams) or (self.streams_so_far > 0 and self._last_stream_end_us >= since_us)

    @property
    def streams_so_far(self) -> int:
        """How many streams it has had, open ones too."""
        return self._next_stream - 1

    @property
    def last_stream_end_us(self) -> int:
        """When its last stream ended; when it was made, where it had none."""
        return self._last_stream_end_us

    def _give_up_legs(self, now_us: int) -> None:
        given_up = self.legs.give_up(now_us)
        if given_up and not self.streams and not self.legs.away:
            last = max(given_up, key=lambda away: away.deadline_us)
            reason = EndReason.RECOVERED if last.by_restart else EndReason.DISCONNECTED
            self._end_recordings(reason, now_us)  # rule 2

    def _end_recordings(self, reason: EndReason, now_us: int) -> None:
        self.recordings.stop_all(reason, now_us, end_us=self._last_stream_end_us)

    # ---- after a restart ---------------------------------------------------------------------------------------

    def restore(self, left: Restored, running: list[LiveRecording], now_us: int) -> None:
        """Go on with what the journal says was running; lost legs may come back."""
        self.was_recorded = True
        self.created_us = min(now_us, *(unix_us(recording.row.created_at) for recording in running))
        self.legs.names = left.legs
        self._next_stream, self._next_track = left.next_stream, left.next_track
        self.recordings.restore(running, journal=left.journal, paused_by=left.paused_by)
        for recording in running:
            self.learn(recording.row.call)
        self._last_stream_end_us = left.last_us
        for facts in left.lost:
            self.legs.lose(facts, deadline_us=now_us + self._timing.reconnect_wait_us, by_restart=True)
        self.notes.note(now_us, events.ServerStarted())
        if not left.lost:
            self._end_recordings(EndReason.RECOVERED, now_us)

    # ---- within ------------------------------------------------------------------------------------------------

    def _replace_streams_of(self, facts: StreamFacts, stream_id: str | None, now_us: int) -> int:
        """End the older stream of the leg's track: a peer reconnects before we have seen its old socket die.

        Return when that was done.
        """
        for stream in list(self.streams):
            if stream.gives_way_to(facts, stream_id):
                now_us = stream.handle.drain(now_us)
                if stream not in self.streams:
                    continue  # its end was what waited
                self.streams.remove(stream)
                stream.forget_frames()
                self.notes.note_closed(now_us, stream.facts.stream, clean=False)
                stream.handle.close(1008, f"leg: a newer stream of leg {facts.leg[:40]!r} took over")
        return now_us


class SessionStream(Stream):
    """The sink of one media socket: its frames go to the journal, its events are the session's."""

    __slots__ = ("_allowance", "_session")

    def __init__(
        self, session: Session, *, facts: StreamFacts, handle: StreamHandle, joined_us: int, started: StreamStarted
    ) -> None:
        super().__init__(facts=facts, handle=handle, joined_us=joined_us, started=started)
        self._session = session
        self._allowance = EventAllowance()

    def event(self, event: Event, arrival_us: int) -> None:
        """Apply an event that is not a frame."""
        session = self._session
        if isinstance(event, Dtmf | Paused | Resumed):
            arrival_us = session.draining.drain_others(self, arrival_us)
        if isinstance(event, Dtmf | Mark):
            if not self._allowance.take(arrival_us):
                session.notes.left_out.add_event(session_id=session.session_id, app_id=session.app_id)
            elif isinstance(event, Dtmf):
                session.notes.note_digit(arrival_us, self.facts.stream, event.digit)
            else:
                session.notes.note(arrival_us, events.Mark(stream=self.facts.stream, name=event.name))
        elif isinstance(event, CallInfo):
            session.learn(event.call)
        elif isinstance(event, Paused):
            session.recordings.pause_all(arrival_us, leg=self.facts.leg)
        elif isinstance(event, Resumed):
            session.recordings.resume_when_allowed(arrival_us, AskedResume(self.facts.leg, self._allowance))

    def closed(self, clean: bool, arrival_us: int) -> None:
        """End the stream; ``clean`` by the peer's own will, else it may come back as the same leg."""
        self._session.stream_closed(self, clean=clean, now_us=arrival_us)
