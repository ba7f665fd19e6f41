"""The recordings of a call, by the handles that SignalWire's callers give them: REST commands and SWML verbs alike.

1. A ``control_id`` names one running recording of a call: a second start with it is refused. It may be used again once
   that recording has ended.
2. It finds whichever running recording of the call has it. Without one, the recording is meant that this API started
   last and that still runs.
3. Commands to one call are done one after another, so of two starts with one handle the second is refused, and a stop
   meets what was started before it.
4. Pausing what is paused, or resuming what is not, changes nothing and succeeds.
"""

from __future__ import annotations

import uuid
from typing import Any

from wavstream.api.facade import FacadeDependencies, check_call
from wavstream.errors import Conflict, FieldError, Forbidden, InvalidFields, NotFound
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.origin import Origin
from wavstream.model.recording import Recording, Status
from wavstream.sessions.keyed_locks import KeyedLocks

API = "signalwire"
"""The name of this API among all, in ``Origin.api``."""


class ControlIdInUse(InvalidFields):
    """Another running recording of the call has the handle: choose another, or stop that one first."""

    def __init__(self, control_id: str) -> None:
        detail = f"a running recording of the call has the control_id {control_id}: choose another, or stop that one"
        super().__init__((FieldError("/params/control_id", detail),))


class CallRecordings:
    """Starts, pauses, resumes and stops the recordings of calls.

    ``mount.create`` makes one, which REST and SWML share (``swml.routes.routes(parts, recordings)``): rule 3 holds
    within it.
    """

    def __init__(self, parts: FacadeDependencies) -> None:
        self._parts = parts
        self._commands = parts.commands
        self._turns = KeyedLocks()

    async def start(
        self,
        *,
        app_id: str,
        call_id: str,
        options: RecordingOptions,
        control_id: str | None,
        status_url: str | None,
        command: str,
        said: dict[str, Any],
    ) -> Recording:
        """Start a recording of the call; its handle is in ``origin.control_id``, made here if there is none.

        ``status_url`` has been checked. Raises NotFound for a call that is not known, ControlIdInUse, LimitReached, and
        what the opener raises.
        """
        origin = Origin(
            api=API,
            command=command,
            control_id=control_id or str(uuid.uuid4()),
            status_url=status_url,
            said=said,
        )
        async with self._turns.of(app_id, call_id):  # rule 3
            check_call(self._parts, app_id, call_id)
            if control_id is not None and _with_handle(self._running(app_id, call_id), control_id):
                raise ControlIdInUse(control_id)  # rule 1
            return await self._commands.start(app_id=app_id, session_id=call_id, options=options, origin=origin)

    async def stop(self, *, app_id: str, call_id: str, control_id: str | None) -> Recording:
        """Stop a recording of the call, and return it as it is right then: its file may still be finished.

        Raises NotFound where there is none, and LimitReached while a restart has the call in its hands.
        """
        async with self._turns.of(app_id, call_id):
            recording = self._find(app_id, call_id, control_id)
            try:
                ended = await self._commands.end(app_id=app_id, recording_id=recording.id)
            except Conflict:  # it came to its end by itself
                raise _no_recording(control_id) from None
            if ended.done() and not ended.cancelled():
                return ended.result()
            return await self._commands.get(app_id=app_id, recording_id=recording.id)

    async def pause(
        self, *, app_id: str, call_id: str, control_id: str | None, behavior: PauseBehavior | None = None
    ) -> Recording:
        """Pause a recording of the call; without ``behavior`` the pause leaves what its options say.

        Raises NotFound where there is none, Conflict for one that waits for the call's audio, and LimitReached.
        """
        async with self._turns.of(app_id, call_id):
            recording = self._find(app_id, call_id, control_id)
            try:
                return await self._commands.pause(app_id=app_id, recording_id=recording.id, behavior=behavior)
            except Conflict as error:
                if error.state != Status.PAUSED:  # rule 4
                    raise
                return recording

    async def resume(self, *, app_id: str, call_id: str, control_id: str | None) -> Recording:
        """Let a recording of the call go on; raises as ``pause`` does."""
        async with self._turns.of(app_id, call_id):
            recording = self._find(app_id, call_id, control_id)
            if recording.status is Status.ONGOING:  # rule 4
                return recording
            return await self._commands.resume(app_id=app_id, recording_id=recording.id)

    def _find(self, app_id: str, call_id: str, control_id: str | None) -> Recording:
        """Return the running recording that is meant (rule 2); raise NotFound."""
        running = self._running(app_id, call_id)
        if control_id is None:
            meant = [recording for recording in running if recording.origin.api == API]
        else:
            meant = _with_handle(running, control_id)
        if not meant:
            raise _no_recording(control_id)
        return max(meant, key=lambda recording: recording.created_at)

    def _running(self, app_id: str, call_id: str) -> list[Recording]:
        """Return the running recordings of the call; none for a call that is not live."""
        try:
            recordings = self._commands.recordings_of(app_id, call_id)
        except (NotFound, Forbidden):  # another app's call does not exist for this one
            return []
        return [recording for recording in recordings if recording.status.is_running]


def _with_handle(recordings: list[Recording], control_id: str) -> list[Recording]:
    return [recording for recording in recordings if recording.origin.control_id == control_id]


def _no_recording(control_id: str | None) -> NotFound:
    return NotFound(
        "no recording of the call is running"
        if control_id is None
        else f"no running recording of the call has the control_id {control_id}"
    )
