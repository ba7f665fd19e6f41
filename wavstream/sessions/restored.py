"""What recovery tells a session of the call that a restart cut off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wavstream.journal.events import StreamFacts
from wavstream.journal.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a journal of before a restart says of its session."""

    journal: Journal
    """Made anew for what follows."""
    legs: list[str]
    """In order of arrival."""
    lost: list[StreamFacts]
    """The streams of those that may come back, one for each leg."""
    next_stream: int
    next_track: int
    last_us: int
    """The last arrival."""
    paused_by: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By recording: who holds it paused."""
