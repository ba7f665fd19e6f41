"""How a recording begins to exist: a value with its id and its names, before anything of it is on a disk.

Its file is called after its session, or as it was asked to be, and the second in which it was asked for. Where an app
asks for several of one name in one second, they are numbered from the second on: downloads must not overwrite each
other. The count need not outlive the server: a restart takes longer than that second (3 s, measured).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from wavstream.model.ids import new_id
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import Recording, Status
from wavstream.model.times import utc
from wavstream.storage.object_keys import KeyTemplate


class NewRecordings:
    """Makes recordings that are asked for now."""

    def __init__(self, *, keys: KeyTemplate, now_us: Callable[[], int]) -> None:
        self._keys = keys
        self._now_us = now_us
        self._second = 0
        self._named: Counter[tuple[str, str]] = Counter()
        """How many files of an app have been given a name in this second."""

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
            file_name=f"{self._name(app_id, stem, int(created_at.timestamp()))}.{options.format}",
            created_at=created_at,
        )
        key = self._keys.key(app_id=app_id, recording_id=recording.id, created_at=created_at, ext=options.format)
        return replace(recording, object_key=key)

    def _name(self, app_id: str, stem: str, second: int) -> str:
        if second != self._second:
            self._second = second
            self._named.clear()
        name = f"{stem}-{second}"
        self._named[app_id, name] += 1
        number = self._named[app_id, name]
        return name if number == 1 else f"{name}-{number}"
