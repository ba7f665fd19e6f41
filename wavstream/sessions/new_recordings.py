"""How a recording begins to exist: a value with its id and its names, before anything of it is on a disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from wavstream.model.ids import new_id
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status
from wavstream.model.times import utc
from wavstream.storage.keys import KeyTemplate


class NewRecordings:
    """Makes recordings that are asked for now."""

    def __init__(self, *, keys: KeyTemplate, now_us: Callable[[], int]) -> None:
        self._keys = keys
        self._now_us = now_us

    def __call__(self, *, app_id: str, session_id: str, options: RecordingOptions) -> Recording:
        """An accepted recording with a fresh id."""
        created_at = utc(self._now_us())
        stem = options.file_name or re.sub(r"[^A-Za-z0-9._-]+", "-", session_id)[:40].strip("-.") or "call"
        recording = Recording(
            id=new_id(),
            app_id=app_id,
            session_id=session_id,
            status=Status.ACCEPTED,
            options=options,
            object_key="",
            file_name=f"{stem}-{int(created_at.timestamp())}.{options.format}",
            created_at=created_at,
        )
        key = self._keys.key(app_id=app_id, recording_id=recording.id, created_at=created_at, ext=options.format)
        return replace(recording, object_key=key)
