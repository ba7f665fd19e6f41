"""Every live session, and the beat that drives them.

The beat is one timer for all sessions: every 15 ms it visits the next of ten slots, so that each session is visited
every 150 ms and the journal's thread is fed small jobs instead of one large one (measured at 2,000 legs: stop p99 of
11 to 26 ms against 53 to 81 ms). It is also where the loop's delay is seen, at no further cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Protocol

import structlog

from wavstream.dialects.events import StreamStarted
from wavstream.errors import LimitReached
from wavstream.journal.events import RecordingStopped
from wavstream.journal.journal import Journal
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording
from wavstream.sessions.deferred_stream import DeferredStream
from wavstream.sessions.disk_reserve import DiskReserve
from wavstream.sessions.ports import Renderer, StreamHandle
from wavstream.sessions.session import Session
from wavstream.sessions.stalled_sessions import StalledSessions
from wavstream.sessions.stream import Stream
from wavstream.sessions.timing import Timing

SLOTS = 10
SLOT_S = 0.015

log = structlog.get_logger()


class NewRecording(Protocol):
    """Makes the value of a recording that is asked for now."""

    def __call__(self, *, app_id: str, session_id: str, options: RecordingOptions) -> Recording:
        """An accepted recording with a fresh id."""


class Writer(Protocol):
    """The journal's thread, as the beat needs it."""

    def submit(self, journals: list[Journal]) -> None:
        """Flush these journals and write what they have."""


class Sessions:
    """Sessions by app and by the switch's own id of the call."""

    def __init__(
        self, *, timing: Timing, renderer: Renderer, writer: Writer, make_journal: Callable[[Session], Journal],
        max_sessions: int, max_streams_per_session: int, auto_record: bool,
        options_of: Callable[[str], RecordingOptions],
        new_recording: NewRecording, room: DiskReserve,
    ) -> None:  # fmt: skip
        self.stopping = False
        """The server is going down: what streams end now is not a hang-up."""
        self.renderer = renderer
        self._timing = timing
        self._writer = writer
        self._make_journal = make_journal
        self._max_sessions = max_sessions
        self._max_streams = max_streams_per_session
        self._auto_record = auto_record
        self._options_of = options_of
        self._new_recording = new_recording
        self._room = room
        self._sessions: dict[tuple[str, str], Session] = {}
        self._slots: list[dict[Session, None]] = [{} for _ in range(SLOTS)]
        self._slot = 0
        self._recovering: dict[tuple[str, str], list[DeferredStream]] = {}
        self._full = False
        self._made = 0
        self._orphans = StalledSessions(after_us=timing.orphan_after_us)

    # ---- sessions ----------------------------------------------------------------------------------------------

    def find(self, app_id: str, session_id: str) -> Session | None:
        """The live session, if there is one."""
        return self._sessions.get((app_id, session_id))

    def apps_of(self, session_id: str) -> set[str]:
        """The apps that have a session of this id, live or being brought back after a restart."""
        return {app_id for app_id, known_id in (*self._sessions, *self._recovering) if known_id == session_id}

    def sessions(self, app_id: str | None = None) -> Iterator[Session]:
        """All live sessions, or one app's."""
        return (session for session in self._sessions.values() if app_id is None or session.app_id == app_id)

    def __len__(self) -> int:
        return len(self._sessions)

    def find_or_make(self, app_id: str, session_id: str, now_us: int, *, even_if_full: bool = False) -> Session:
        """The live session, made if it is new; raises LimitReached when there are too many.

        One that is no more than announced makes room: a forgotten announcement must not cost a call.
        ``even_if_full``: it was let in before, and is not refused now.
        """
        session = self._sessions.get((app_id, session_id))
        if session is None:
            if len(self._sessions) >= self._max_sessions and not even_if_full and not self._made_room():
                raise LimitReached("the server has as many sessions as it may: try again later", retry_after_s=5)
            session = Session(
                app_id=app_id, session_id=session_id, now_us=now_us, timing=self._timing,
                renderer=self.renderer, make_journal=self._make_journal, turn=self._made,
            )  # fmt: skip
            self._made += 1
            self._sessions[app_id, session_id] = session
            min(self._slots, key=len)[session] = None
        return session

    def drop_if_over(self, session: Session) -> None:
        """Forget a session that nothing keeps."""
        if session.is_over and self._sessions.get((session.app_id, session.session_id)) is session:
            self._drop(session)

    def _drop(self, session: Session) -> None:
        del self._sessions[session.app_id, session.session_id]
        for slot in self._slots:
            slot.pop(session, None)

    def _made_room(self) -> bool:
        """Forget a session that is no more than announced: the first announced of the app that has most; if any is."""
        announced = [session for session in self._sessions.values() if session.waits.announced_until_us is not None]
        for app_id, _ in Counter(session.app_id for session in announced).most_common():
            of_app = [session for session in announced if session.app_id == app_id]
            for session in sorted(of_app, key=attrgetter("waits.announced_until_us")):
                if session.is_idle:
                    log.info("an announced session makes room for another", session=session.session_id, app=app_id)
                    self._drop(session)
                    return True
        return False

    # ---- streams -----------------------------------------------------------------------------------------------

    def open_stream(
        self, started: StreamStarted, *, app_id: str, handle: StreamHandle, now_us: int
    ) -> Stream | DeferredStream:
        """A stream has introduced itself; raises LimitReached."""
        assert started.session_id is not None
        self.check_open()
        key = (app_id, started.session_id)
        if key in self._recovering:
            held = DeferredStream(started, app_id=app_id, handle=handle)
            self._recovering[key].append(held)
            return held
        session = self.find_or_make(app_id, started.session_id, now_us)
        if len(session.streams) >= self._max_streams:
            raise LimitReached("the session has as many streams as it may", retry_after_s=5)
        records = (started.record or self._auto_record) and not session.was_recorded
        if records:
            self._room.check()
        stream = session.open_stream(started, handle=handle, now_us=now_us)
        if self._full:
            handle.pause_reading()
        if records:
            # The row follows by itself: the journal has all of the recording already.
            options = self._options_of(app_id)
            recording = self._new_recording(app_id=app_id, session_id=session.session_id, options=options)
            self.renderer.change(session.start(recording, now_us))
        return stream

    def check_open(self) -> None:
        """Raises LimitReached when the server is going down: what began now would be lost."""
        if self.stopping:
            raise LimitReached("the server is restarting: try again", retry_after_s=5)

    def hold(self, app_id: str, session_id: str) -> None:
        """A journal of this session is being read: streams that come wait until ``release``."""
        self._recovering.setdefault((app_id, session_id), [])

    def release(self, app_id: str, session_id: str, now_us: int) -> None:
        """The journal is read: the streams that waited are let in."""
        for held in self._recovering.pop((app_id, session_id), []):
            try:
                stream = self.open_stream(held.started, app_id=app_id, handle=held.handle, now_us=now_us)
            except LimitReached as error:
                held.handle.close(1013, str(error))
            else:
                held.attach(stream, now_us)
                if self._full:
                    held.handle.pause_reading()

    def automatic_end(self, recording: Recording, end: RecordingStopped, now_us: int) -> bool:
        """A running recording has come to its end by itself; False: it was stopped meanwhile and is left as it is."""
        session = self.find(recording.app_id, recording.session_id)
        if session is None or recording.id not in session.running:
            return False
        session.stop(recording.id, end.reason, now_us, end_us=end.end_us)
        return True

    # ---- the beat ----------------------------------------------------------------------------------------------

    def beat(self, now_us: int) -> None:
        """Visit the next slot's sessions: time, flush, fold."""
        slot = self._slots[self._slot]
        self._slot = (self._slot + 1) % SLOTS
        journals: list[Journal] = []
        due: list[Journal] = []
        over: list[Session] = []
        for session in slot:
            worth_folding = session.tick(now_us)
            if self._full or self.stopping:
                session.active_us = now_us  # it is we who do not read
            else:
                self._orphans.visit(session, now_us)
            journal = session.journal
            if journal is not None:
                journals.append(journal)
                if worth_folding:
                    due.append(journal)
            if session.is_over:
                over.append(session)
        if journals:
            self._writer.submit(journals)
        if due:
            self.renderer.advance(due)
        for session in over:
            self.drop_if_over(session)

    def shut_down(self, now_us: int) -> None:
        """The server goes down: what runs stays in the journals, and streams that end from now on are no hang-up."""
        if self.stopping:
            return
        self.stopping = True
        noted = [session.journal for session in self._sessions.values() if session.detach(now_us)]
        self._writer.submit([journal for journal in noted if journal is not None])

    def apply_backpressure(self, full: bool) -> None:
        """The journal's queue is full, or has room again: the peers' audio waits in the kernel meanwhile."""
        self._full = full
        for session in self._sessions.values():
            for stream in session.streams:
                if full:
                    stream.handle.pause_reading()
                else:
                    stream.handle.resume_reading()
