"""Legal holds, put and released.

What can be held is a recording that has its file, or may still get one. One whose retention has ended is gone, whether
or not the sweeper has come by, so a hold does not bring it back. A hold is never changed: who wants another reason
noted releases it first. Putting it again with the same words, and releasing what is not held, change nothing.

The row of the catalog is what counts; the live value of a recording that runs only repeats it in answers.
"""

from __future__ import annotations

import structlog

from wavstream.catalog.holds import HoldRegister
from wavstream.errors import Conflict, NotFound
from wavstream.model.recording import LegalHold, Recording, Status
from wavstream.recorder.recorder import Recorder
from wavstream.retention.expiry import is_expired
from wavstream.sessions.commands import Commands

log = structlog.get_logger(__name__)


class Holds:
    """What the owners of recordings may ask of holds."""

    def __init__(self, *, register: HoldRegister, commands: Commands, recorder: Recorder) -> None:
        self._register = register
        self._commands = commands
        self._recorder = recorder

    async def put(self, *, app_id: str, recording_id: str, hold: LegalHold) -> Recording:
        """Keep a recording from retention and erasure from ``hold.since``, which is now; raise NotFound or Conflict."""
        await self._commands.get(app_id=app_id, recording_id=recording_id)  # NotFound, Elsewhere: before it is changed
        held = await self._register.put(recording_id, app_id, hold)
        if held:
            self._repeat(recording_id, hold)
            log.info("legal_hold_put", recording_id=recording_id, app_id=app_id, by=hold.by, reason=hold.reason)
        recording = await self._commands.get(app_id=app_id, recording_id=recording_id)
        if held:
            return recording
        if (earlier := recording.hold) is not None:
            if (earlier.by, earlier.reason) == (hold.by, hold.reason):
                return recording
            raise Conflict(f"the recording is held by {earlier.by} already", state=recording.status)
        if recording.status is Status.DELETED:
            raise NotFound("no such recording")
        status = Status.EXPIRED if is_expired(recording, hold.since) else recording.status
        why = "being erased" if status is Status.AVAILABLE else status
        raise Conflict(f"the recording is {why}: there is nothing to hold", state=status)

    async def release(self, *, app_id: str, recording_id: str) -> Recording:
        """Release a recording to retention and erasure; raise NotFound if there is none."""
        await self._commands.get(app_id=app_id, recording_id=recording_id)
        if await self._register.release(recording_id, app_id):
            self._repeat(recording_id, None)
            log.info("legal_hold_released", recording_id=recording_id, app_id=app_id)
        return await self._commands.get(app_id=app_id, recording_id=recording_id)

    def _repeat(self, recording_id: str, hold: LegalHold | None) -> None:
        recording = self._recorder.get(recording_id)
        if recording is not None:
            recording.hold(hold)
