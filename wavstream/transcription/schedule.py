"""Which recording is transcribed next, and what becomes of one that failed. No IO, no clock.

1. Apps take turns: the app of which least is being transcribed now goes first, then the one whose last turn is longest
   ago. So one that asks for a thousand at once has one place in each round, as all others.
2. Within an app the one that has waited longest goes first.
3. One that failed for a reason that may pass (a crash, a hang, an engine that cannot be reached) waits
   ``FIRST_WAIT_S``, then ``GROWTH`` times that and so on, less up to half of it by chance, and is tried ``TRIES`` times
   in all. Any other failure is its end at once: a key that is refused is refused the next time too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from wavstream.catalog.transcriptions import Transcription

TRIES = 3
FIRST_WAIT_S = 10.0
GROWTH = 6.0


class Turns:
    """Whose turn it is (rule 1)."""

    def __init__(self) -> None:
        self._last_turn: dict[str, int] = {}
        self._turns = 0

    def choose(self, waiting: Sequence[Transcription], running: Iterable[str], places: int) -> list[Transcription]:
        """Return up to ``places`` of what waits, in the order in which to begin; ``running`` are apps, one for each.

        The turns of those that are returned are taken.
        """
        busy, left, chosen = Counter(running), _by_app(waiting), list[Transcription]()
        while left and len(chosen) < places:
            app_id = min(left, key=lambda each: (busy[each], self._last_turn.get(each, 0), left[each][0].since))
            chosen.append(left[app_id].pop(0))
            if not left[app_id]:
                del left[app_id]
            busy[app_id] += 1
            self._turns += 1
            self._last_turn[app_id] = self._turns
        return chosen


def next_try(attempts: int, now: datetime, *, is_lasting: bool, chance: float) -> datetime | None:
    """Return when one that has failed so many times is tried again; None: it has failed for good (rule 3).

    ``chance`` is from 0 to 1.
    """
    if is_lasting or attempts >= TRIES:
        return None
    return now + timedelta(seconds=FIRST_WAIT_S * GROWTH ** (attempts - 1) * (1 - chance / 2))


def _by_app(waiting: Sequence[Transcription]) -> dict[str, list[Transcription]]:
    found: dict[str, list[Transcription]] = {}
    for each in sorted(waiting, key=lambda one: (one.since, one.recording_id)):  # rule 2
        found.setdefault(each.app_id, []).append(each)
    return found
