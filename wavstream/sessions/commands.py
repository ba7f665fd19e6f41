"""The commands of every API: start, stop, pause, resume a recording; announce, look at a session.

A command that is refused changes nothing. Tenancy is decided here once: what belongs to another app does not exist.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from wavstream.catalog.catalog import Catalog
from wavstream.catalog.pages import Page
from wavstream.catalog.recordings import Filters
from wavstream.errors import (
    Conflict,
    DependencyError,
    FieldError,
    InvalidFields,
    LimitReached,
    NotFound,
    WavstreamError,
)
from wavstream.model.call import CallFacts
from wavstream.model.fact import Fact
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason, Recording, Status
from wavstream.model.session import SessionView
from wavstream.model.times import utc
from wavstream.sessions.disk_reserve import DiskReserve
from wavstream.sessions.opened_streams import OpenedStreams
from wavstream.sessions.registry import NewRecording, Sessions
from wavstream.sessions.session import Session
from wavstream.sessions.views import session_view
from wavstream.storage.local import LocalStorage

STOP_WAIT_S = 10.0
"""A stop answers when the file is there; after this long it answers that the file is still being finished."""


class Commands:
    """What may be done to sessions and recordings, by the app that owns them."""

    def __init__(
        self, *, sessions: Sessions, catalog: Catalog, now_us: Callable[[], int],
        new_recording: NewRecording, storage: LocalStorage, room: DiskReserve,
        facts_of: Callable[[Recording], Sequence[Fact]], openings: OpenedStreams,
    ) -> None:  # fmt: skip
        self._sessions = sessions
        self._catalog = catalog
        self._now_us = now_us
        self._new_recording = new_recording
        self._storage = storage
        self._starting: weakref.WeakValueDictionary[tuple[str, str], asyncio.Lock] = weakref.WeakValueDictionary()
        """By idempotency key: kept for as long as a request with that key holds its lock or waits for it."""
        self._room = room
        self._facts_of = facts_of
        self._openings = openings

    # ---- recordings --------------------------------------------------------------------------------------------

    async def start(
        self, *, app_id: str, session_id: str, options: RecordingOptions,
        idempotency_key: str | None = None, request_digest: str = "",
    ) -> Recording:  # fmt: skip
        """Start a recording; raises LimitReached, and what the opener raises.

        A known idempotency key gives the recording it made.
        """
        recording = self._new_recording(app_id=app_id, session_id=session_id, options=options)
        if idempotency_key is None:
            return await self.begin(recording, self._catalog.recordings.add)
        lock = self._starting.setdefault((app_id, idempotency_key), asyncio.Lock())
        async with lock:
            return await self._start_once(recording, idempotency_key, request_digest)

    async def _start_once(self, recording: Recording, key: str, request_digest: str) -> Recording:
        app_id = recording.app_id
        earlier = await self._catalog.idempotency.remember(
            app_id=app_id, key=key, request_digest=request_digest, recording_id=recording.id, now=recording.created_at
        )
        if earlier is not None:
            if earlier.request_digest != request_digest:
                detail = "was used before with another request: use a new key for a new recording"
                raise InvalidFields((FieldError("Idempotency-Key", detail),))
            made = await self._catalog.recordings.get(earlier.recording_id, app_id=app_id)
            if made is not None:
                return made
            # The server was killed between the key and the row: nothing was started.
            await self._catalog.idempotency.forget(app_id, key)
            return await self._start_once(recording, key, request_digest)
        try:
            return await self.begin(recording, self._catalog.recordings.add)
        except WavstreamError:
            await self._catalog.idempotency.forget(app_id, key)
            raise

    async def begin(self, recording: Recording, add: Callable[[Recording], Awaitable[object]]) -> Recording:
        """Start this recording, which ``add`` writes into the catalog; raises LimitReached, what the opener raises."""
        self._room.check()
        self._sessions.check_open()
        app_id, session_id = recording.app_id, recording.session_id
        session = self._sessions.find_or_make(app_id, session_id, self._now_us())
        before_us = session.waits.stream_by_us
        if not session.streams:
            session.waits.expect_stream(self._now_us())
        expected_us = session.waits.stream_by_us
        try:
            async with self._openings.starting(recording) as recording:
                await add(recording)
                if self._sessions.stopping:
                    return recording  # the row waits for its first stream, as it would have done here
                # Streams may have come and gone meanwhile, and the session with them.
                session = self._sessions.find_or_make(app_id, session_id, self._now_us(), even_if_full=True)
                started = session.start(recording, self._now_us())
        except WavstreamError:
            if session.waits.stream_by_us == expected_us and not session.waiting:
                session.waits.stream_by_us = before_us
            raise
        if started.status is not recording.status:
            await self._save(started)
        return started

    async def stop(self, *, app_id: str, recording_id: str) -> Recording:
        """Stop a running recording and wait for its file; raises NotFound, Conflict."""
        finished = await self.end(app_id=app_id, recording_id=recording_id)
        await asyncio.wait((finished,), timeout=STOP_WAIT_S)
        if finished.done() and not finished.cancelled():
            return finished.result()
        return await self.get(app_id=app_id, recording_id=recording_id)

    async def end(self, *, app_id: str, recording_id: str, end_us: int | None = None) -> asyncio.Future[Recording]:
        """Stop a running recording: gives it as it ends up, with its file. Raises NotFound, Conflict.

        ``end_us`` is when it was to end; None: now.
        """
        session, recording = await self._running(app_id, recording_id, "stopped")
        if recording.status is not Status.ACCEPTED:
            stopped = session.stop(recording_id, EndReason.STOPPED, self._now_us(), end_us=end_us)
            self._openings.release(recording)
            return stopped
        cancelled = session.cancel(recording_id, self._now_us())
        self._openings.release(cancelled)
        await self._save(cancelled)
        ended = asyncio.get_running_loop().create_future()
        ended.set_result(cancelled)
        return ended

    async def pause(self, *, app_id: str, recording_id: str) -> Recording:
        """Pause an ongoing recording; raises NotFound, Conflict."""
        session, recording = await self._running(app_id, recording_id, "paused")
        if recording.status is not Status.ONGOING:
            raise Conflict(f"the recording is {recording.status}, not ongoing", state=recording.status)
        paused = session.pause(recording_id, self._now_us())
        await self._save(paused)
        return paused

    async def resume(self, *, app_id: str, recording_id: str) -> Recording:
        """Let a paused recording go on; raises NotFound, Conflict."""
        session, recording = await self._running(app_id, recording_id, "resumed")
        if recording.status is not Status.PAUSED:
            raise Conflict(f"the recording is {recording.status}, not paused", state=recording.status)
        resumed = session.resume(recording_id, self._now_us())
        await self._save(resumed)
        return resumed

    async def get(self, *, app_id: str, recording_id: str) -> Recording:
        """One recording of the app; raises NotFound."""
        finishing = self._sessions.renderer.finishing(recording_id)
        recording = await self._catalog.recordings.get(recording_id, app_id=app_id)
        if finishing is not None and finishing.app_id == app_id:
            return finishing if recording is None else replace(finishing, hold=recording.hold)
        if recording is None:
            raise NotFound("no such recording")
        return recording

    async def list(
        self, *, app_id: str, session_id: str | None, status: Status | None, from_: str | None, to: str | None,
        since: datetime | None, until: datetime | None, limit: int, cursor: str | None,
    ) -> Page[Recording]:  # fmt: skip
        """A page of the app's recordings, newest first; raises InvalidFields for a cursor that is not one of ours."""
        filters = Filters(session_id=session_id, status=status, from_=from_, to=to, since=since, until=until)
        return await self._catalog.recordings.list(app_id, filters, limit=limit, cursor=cursor)

    async def delete(self, *, app_id: str, recording_id: str) -> None:
        """Erase a recording's file; its row stays, without it.

        Raises NotFound, and Conflict while it is made or held.
        """
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if recording.status is Status.DELETED:
            raise NotFound("no such recording")
        if recording.status.is_unfinished:
            raise Conflict(f"the recording is {recording.status}: stop it first", state=recording.status)
        if not await self._catalog.holds.claim_for_erasing((recording_id,), utc(self._now_us())):
            raise Conflict("the recording is under a legal hold: it cannot be erased", state=recording.status)
        await asyncio.to_thread(self._storage.delete, recording.object_key)
        self._sessions.renderer.forget(recording_id)
        await self._catalog.recordings.save(replace(recording, status=Status.DELETED))

    # ---- sessions ----------------------------------------------------------------------------------------------

    async def announce(self, *, app_id: str, session_id: str, call: CallFacts) -> SessionView:
        """Tell of a session before its streams; raises LimitReached."""
        now_us = self._now_us()
        session = self._sessions.find_or_make(app_id, session_id, now_us)
        session.learn(call)
        session.waits.was_announced = True
        if not session.streams:
            session.waits.announce(now_us)
        session.active_us = now_us
        return session_view(session, now_us)

    def sessions(self, app_id: str) -> Sequence[SessionView]:
        """The app's live sessions, oldest first."""
        return [session_view(session, self._now_us()) for session in self._sessions.sessions(app_id)]

    def session(self, app_id: str, session_id: str) -> SessionView:
        """One live session of the app; raises NotFound."""
        session = self._sessions.find(app_id, session_id)
        if session is None:
            raise NotFound("no such session is live")
        return session_view(session, self._now_us())

    # ---- within ------------------------------------------------------------------------------------------------

    async def _running(self, app_id: str, recording_id: str, verb: str) -> tuple[Session, Recording]:
        for session in self._sessions.sessions(app_id):
            recording = session.running.get(recording_id) or session.waiting.get(recording_id)
            if recording is not None:
                return session, recording
        recording = await self.get(app_id=app_id, recording_id=recording_id)
        if recording.status.is_running:
            raise LimitReached("a restart has the recording in its hands: try again", retry_after_s=1)
        raise Conflict(f"the recording is {recording.status}: it cannot be {verb}", state=recording.status)

    async def _save(self, recording: Recording) -> None:
        """Tell the catalog what was done. It was done and is in the journal, so a catalog that fails is told later."""
        try:
            await self._catalog.recordings.save(recording, self._facts_of(recording))
        except DependencyError:
            self._sessions.renderer.change(recording)
