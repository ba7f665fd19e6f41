"""Legal holds: of a hold and an erasure (``erasures``) that are asked for at the same moment, the first keeps the other
out. Both are one statement on the recording's row, so no file is deleted after its hold was answered.

A hold is no part of what ``Recordings.save`` writes, so no late writer takes it away.
"""

from __future__ import annotations

from sqlalchemy import or_, update

from wavstream.catalog.database import Database
from wavstream.catalog.recordings import UNFINISHED
from wavstream.catalog.tables import json_text, recordings
from wavstream.model.recording import LegalHold, Status
from wavstream.model.times import unix_us


class HoldRegister:
    """The holds of all recordings; every method raises DependencyError when the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, recording_id: str, app_id: str, hold: LegalHold) -> bool:
        """Hold the app's recording if it is not held, has a file or may get one, and is not being erased.

        Return whether this put the hold.
        """
        columns = recordings.c
        not_expired = or_(columns.expires_us.is_(None), columns.expires_us > unix_us(hold.since))
        statement = update(recordings).where(
            columns.id == recording_id,
            columns.app_id == app_id,
            columns.hold_json.is_(None),
            columns.erasing_us.is_(None),
            or_(
                columns.status.in_([status.value for status in UNFINISHED]),
                (columns.status == Status.AVAILABLE.value) & not_expired,
            ),
        )
        held = statement.values(hold_json=json_text(hold))
        return await self._database.write(lambda connection: connection.execute(held).rowcount == 1)

    async def release(self, recording_id: str, app_id: str) -> bool:
        """End the hold of the app's recording; return whether there was one."""
        columns = recordings.c
        statement = update(recordings).where(
            columns.id == recording_id, columns.app_id == app_id, columns.hold_json.is_not(None)
        )
        released = statement.values(hold_json=None)
        return await self._database.write(lambda connection: connection.execute(released).rowcount == 1)
