"""Calls that a test sets going and ends, with recordings that are no more than their rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from tests.unit.api.fakes import live_view
from wavstream.catalog.pages import NumberedPage, Page
from wavstream.errors import Conflict, Forbidden, LimitReached, NotFound
from wavstream.model.filters import RecordingFilters
from wavstream.model.ids import new_id
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import Receipt, Recording, Status
from wavstream.model.session import SessionView
from wavstream.sessions.commands import Commands

NONE: Mapping[str, str] = {}


@dataclass
class FakeCalls(Commands):
    """Commands to calls without media behind them."""

    clock: Callable[[], datetime]
    views: dict[tuple[str, str], SessionView] = field(default_factory=dict)
    """The live ones, by app and id."""
    rows: dict[str, Recording] = field(default_factory=dict)
    recovered: set[str] = field(default_factory=set)
    """Calls that a restart has in its hands."""
    failure: Exception | None = None
    """Raised by the next command that gets so far."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    """What was done, to which recording, and how."""

    def check_here(self, session_id: str) -> None:
        """Return: it is."""

    def begin_call(
        self, call: str, app_id: str = "one", *, legs: tuple[str, ...] = ("a", "b"), ids: Mapping[str, str] = NONE
    ) -> None:
        """Let a call stream; ``ids`` are those that its media server tells."""
        view = live_view(call, app_id)
        self.views[app_id, call] = view.model_copy(update={"legs": legs, "vendor_ids": ids})

    def end_call(self, call: str, app_id: str = "one") -> None:
        """Let a call hang up, and with it its recordings."""
        del self.views[app_id, call]
        for row in [row for row in self.rows.values() if row.session_id == call and row.status.is_running]:
            self._finish(row)

    def put(self, recording: Recording) -> Recording:
        """Put a recording among those that there are."""
        self.rows[recording.id] = recording
        return recording

    def statuses(self) -> list[str]:
        """Return those of all recordings, the oldest first."""
        return [row.status.value for row in self.rows.values()]

    # ---- what the API asks -------------------------------------------------------------------------------------

    def is_known(self, app_id: str, session_id: str) -> bool:
        return (app_id, session_id) in self.views or session_id in self.recovered

    def session(self, app_id: str, session_id: str) -> SessionView:
        if (view := self.views.get((app_id, session_id))) is None:
            raise NotFound("no such session is live")
        return view

    def recordings_of(self, app_id: str, session_id: str) -> list[Recording]:
        if session_id in self.recovered:
            raise LimitReached("A restart has the session in its hands: try again", retry_after_s=1)
        if (app_id, session_id) not in self.views:
            if any(call == session_id for _, call in self.views):
                raise Forbidden("the session is another app's")
            raise NotFound("no such session is live")
        running = [row for row in self.rows.values() if row.app_id == app_id and row.status.is_running]
        return [row for row in running if row.session_id == session_id]

    async def begin(
        self,
        *,
        app_id: str,
        session_id: str,
        options: RecordingOptions,
        origin: Origin,
        add: Callable[[Recording], Awaitable[object]],
        request_id: str | None = None,
        keepalive: bool = False,
    ) -> Recording:
        self._fail()
        recording_id, now = new_id(), self.clock()
        is_live = (app_id, session_id) in self.views
        recording = Recording(
            id=recording_id,
            app_id=app_id,
            session_id=session_id,
            status=Status.ACCEPTED,
            options=options,
            object_key=f"{app_id}/{recording_id}.{options.format}",
            file_name=f"{options.file_name}-{int(now.timestamp())}.{options.format}",
            created_at=now,
            request_id=request_id,
            origin=origin,
        )
        await add(recording)
        self.asked.append(("start", recording.id, keepalive))
        return self.put(replace(recording, status=Status.ONGOING, started_at=now) if is_live else recording)

    async def stop(self, *, app_id: str, recording_id: str) -> Recording:
        self._fail()
        self.asked.append(("stop", recording_id, None))
        return self._finish(self._going(recording_id))

    def set_client_state(self, *, app_id: str, recording_id: str, client_state: str) -> None:
        row = self.rows[recording_id]
        self.rows[recording_id] = replace(row, options=replace(row.options, client_state=client_state))

    async def pause(self, *, app_id: str, recording_id: str, behavior: PauseBehavior | None = None) -> Recording:
        return self._turn("pause", recording_id, Status.ONGOING, Status.PAUSED, behavior)

    async def resume(self, *, app_id: str, recording_id: str) -> Recording:
        return self._turn("resume", recording_id, Status.PAUSED, Status.ONGOING, None)

    async def get(self, *, app_id: str, recording_id: str) -> Recording:
        recording = self.rows.get(recording_id)
        if recording is None or recording.app_id != app_id:
            raise NotFound("no such recording")
        return recording

    async def list(self, *, app_id: str, filters: RecordingFilters, limit: int, cursor: str | None) -> Page[Recording]:
        found = [row for row in self.rows.values() if row.app_id == app_id and row.session_id == filters.session_id]
        assert filters.statuses == frozenset(Status)
        return Page(tuple(found[:limit]), None)

    async def numbered_page(
        self, *, app_id: str, filters: RecordingFilters, number: int, size: int
    ) -> NumberedPage[Recording]:
        assert filters.statuses is not None
        found = [row for row in self.rows.values() if row.app_id == app_id and row.status in filters.statuses]
        return NumberedPage(tuple(found[(number - 1) * size :][:size]), len(found))

    async def delete(self, *, app_id: str, recording_id: str, reason: str | None = None) -> None:
        self.put(replace(self.rows[recording_id], status=Status.DELETED))

    # ---- within ------------------------------------------------------------------------------------------------

    def _fail(self) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def _going(self, recording_id: str) -> Recording:
        recording = self.rows[recording_id]
        if not recording.status.is_running:
            raise Conflict(f"the recording is {recording.status}", state=recording.status)
        return recording

    def _turn(self, what: str, recording_id: str, before: Status, after: Status, how: Any) -> Recording:
        self._fail()
        recording = self._going(recording_id)
        if recording.status is not before:
            raise Conflict(f"the recording is {recording.status}, not {before}", state=recording.status)
        self.asked.append((what, recording_id, how))
        return self.put(replace(recording, status=after))

    def _finish(self, recording: Recording) -> Recording:
        receipt = Receipt(8000, 2, 489_920, "9f" * 32, 1_959_724)
        return self.put(replace(recording, status=Status.AVAILABLE, ended_at=self.clock(), receipt=receipt))
