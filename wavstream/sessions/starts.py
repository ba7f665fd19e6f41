"""The start of a recording: room for it, its row, the request for a stream where there is none, its journal.

A start that is refused leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from wavstream.catalog.catalog import Catalog
from wavstream.errors import FieldError, InvalidFields, NotYetSafe, WavstreamError
from wavstream.model.recording import Recording
from wavstream.sessions.keyed_locks import KeyedLocks
from wavstream.sessions.opened_streams import OpenedStreams
from wavstream.sessions.registry import Sessions
from wavstream.workers.boundary import Boundary, Elsewhere


class Starts:
    """Starts recordings."""

    def __init__(
        self,
        boundary: Boundary,
        *,
        sessions: Sessions,
        opened: OpenedStreams,
        catalog: Catalog,
        now_us: Callable[[], int],
        wall: Callable[[], datetime],
    ) -> None:
        self._boundary = boundary
        self._sessions = sessions
        self._opened = opened
        self._catalog = catalog
        self._now_us = now_us
        self._wall = wall
        self._idempotent = KeyedLocks()

    @contextmanager
    def beginning(self, session_id: str) -> Iterator[None]:
        """Raise Elsewhere unless the session is this worker's; tell the boundary where what begins is refused."""
        self._boundary.check_here(session_id)
        try:
            yield
        except WavstreamError:
            self._boundary.refused(session_id)
            raise

    async def begin_once(self, recording: Recording, key: str, request_digest: str) -> Recording:
        """Start this recording, or return that which the same request has started before.

        Raises InvalidFields for a key that was used with another ``request_digest``, and what ``begin`` raises.
        """
        async with self._idempotent.of(recording.app_id, key):
            return await self._begin_once(recording, key, request_digest)

    async def _begin_once(self, recording: Recording, key: str, request_digest: str) -> Recording:
        app_id = recording.app_id
        earlier = await self._catalog.idempotency.remember(
            app_id=app_id, key=key, request_digest=request_digest, recording_id=recording.id, now=self._wall()
        )
        if earlier is not None:
            if earlier.request_digest != request_digest:
                detail = "was used before with another request: use a new key for a new recording"
                raise InvalidFields((FieldError("Idempotency-Key", detail),))
            if (made := await self._catalog.recordings.get(earlier.recording_id, app_id=app_id)) is not None:
                return made
            # The server was killed between the key and the row: nothing was started.
            await self._catalog.idempotency.forget(app_id, key)
            return await self._begin_once(recording, key, request_digest)
        try:
            self._boundary.check_here(recording.session_id)  # it may have been let go of while the catalog answered
            return await self.begin(recording, self._catalog.recordings.add)
        except (WavstreamError, Elsewhere):
            await self._catalog.idempotency.forget(app_id, key)
            raise

    async def begin(self, recording: Recording, add: Callable[[Recording], Awaitable[object]]) -> Recording:
        """Start this recording, which ``add`` writes into the catalog; raise LimitReached, what the opener raises."""
        self._sessions.check_open()
        with self._sessions.starting(recording.app_id, recording.session_id):
            return await self._begin_within_room(recording, add)

    async def _begin_within_room(
        self, recording: Recording, add: Callable[[Recording], Awaitable[object]]
    ) -> Recording:
        self._sessions.check_journal()
        app_id, session_id = recording.app_id, recording.session_id
        session = self._sessions.find_or_make(app_id, session_id, self._now_us())
        recording = replace(recording, call=session.call)
        expectation = session.expect_stream(self._now_us())
        try:
            async with self._opened.starting(recording) as recording:
                await add(recording)
                if self._sessions.is_stopping:
                    return recording  # the row waits for its first stream, as it would have done here
                # Its streams may have come and gone meanwhile, and it with them.
                session = self._sessions.find_or_make(app_id, session_id, self._now_us(), beyond_limit=True)
                self._sessions.tell_opened(session)
                session.draining.drain(self._now_us())
                started = session.start(recording, self._now_us())
        except WavstreamError:
            session.take_back(expectation)
            raise
        if started.row.status is not recording.status:
            try:
                await started.save_journaled()
            except NotYetSafe:
                # Its caller is told that there is none, and may ask for another.
                if started.is_under_way and started.row.id in session.recordings.by_id:
                    session.recordings.take_back(started, self._now_us())
                    self._opened.release(started.row)
                raise
        return started.row
