"""What frames meet, for all streams of a session: decided anew when its recordings change, never per frame."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wavstream.journal.journal import Journal
from wavstream.model.recording import Recording, Status
from wavstream.sessions.stream import Stream


def apply_rules(
    streams: Iterable[Stream], recordings: Collection[Recording], journal: Journal | None,
    *, pause_end_us: int | None = None,
) -> None:  # fmt: skip
    """``recordings`` run or are paused; ``pause_end_us``: when a pause of all of them has just ended."""
    for stream in streams:
        if not recordings or journal is None:
            stream.forget_frames()
        elif all_paused(recordings):
            stream.withhold_frames(journal.append)
        elif pause_end_us is not None:
            stream.guard_frames(journal.append, pause_end_us)
        else:
            stream.journal_frames(journal.append)
        asked = stream.wants_silence
        stream.handle.keep_alive(any(each.plays_silence if asked is None else asked for each in recordings))


def all_paused(recordings: Iterable[Recording]) -> bool:
    """Whether nothing of the call belongs to any of them now."""
    return all(recording.status is Status.PAUSED for recording in recordings)
