"""Folds a script item by item while somebody listens, or nobody; and senders that are behind.

``listens`` tells at each clock record whether somebody does from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tests.support.folding import noise
from tests.support.journal_script import T0_US, Script
from wavstream.journal.records import ClockRecord
from wavstream.rendering.fold import Fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wavstream.model.options import RecordingOptions

CLOCK_S = 0.5
"""Between two clock records of these scripts; so canonical points are 1 s apart."""
EARLY_S = 3.0
"""How long those who cannot wait do."""
Switch = Callable[[float], bool]


def always(_: float) -> bool:
    return True


def never(_: float) -> bool:
    return False


@dataclass
class Listened:
    """A fold that was fed item by item while somebody listened, or nobody."""

    fold: Fold
    audio: bytes = b""
    heard: bytes = b""
    heard_s: dict[float, float] = field(default_factory=dict)
    """How much was heard, in seconds of the file, by the time of each clock record."""
    rates_hz: set[int] = field(default_factory=set)
    """Of what was heard."""
    copies: int = 0
    """Clock records after which a copy of the fold was there."""
    ended_s: float | None = None
    """When the end was found, in the journal's time."""

    @property
    def file(self) -> NDArray[np.int16]:
        return self._samples(self.audio)

    @property
    def sound(self) -> NDArray[np.int16]:
        return self._samples(self.heard)

    def behind_s(self, from_s: float, to_s: float) -> float:
        """By how much who listens was behind the call at most, at the clock records between two moments."""
        return max(at_s - heard_s for at_s, heard_s in self.heard_s.items() if from_s <= at_s <= to_s)

    def _samples(self, audio: bytes) -> NDArray[np.int16]:
        return np.frombuffer(audio, "<i2").reshape(-1, self.fold.account().channels)


def listened(script: Script, listens: Switch = always) -> Listened:
    """Fold a script item by item; ``listens`` tells at each clock record whether somebody does from then on."""
    fold = Fold(script.recording_id)
    made = Listened(fold)
    fold.tap.switch(listens(0.0))
    for item in script.items(clock_s=CLOCK_S):
        at_s = (item.arrival_us - T0_US) / 1e6 if isinstance(item, ClockRecord) else 0.0
        if isinstance(item, ClockRecord) and listens(at_s) != fold.tap.is_on:
            fold.tap.switch(not fold.tap.is_on)
        made.audio += fold.feed([item])
        if heard := fold.tap.heard():
            made.heard += heard
            made.rates_hz.add(fold.tap.sample_rate_hz)
        if made.ended_s is None and fold.ended is not None and not fold.complete:
            made.ended_s = at_s
        if isinstance(item, ClockRecord) and fold.ended is None:
            made.copies += fold._ahead is not None
            if fold.tap.channels:
                made.heard_s[at_s] = len(made.heard) / 2 / fold.tap.channels / fold.tap.sample_rate_hz
            else:
                made.heard_s[at_s] = 0.0
    return made


def whole(script: Script) -> tuple[bytes, Fold]:
    """Fold a script at once, as a replay of its journal does."""
    fold = Fold(script.recording_id)
    return fold.feed(script.items(clock_s=CLOCK_S)), fold


def in_real_time(length_s: float) -> NDArray[np.float64]:
    """When each frame of 20 ms is said."""
    return np.arange(round(length_s * 50), dtype=np.float64) * 0.02


def stalled(length_s: float, *, from_s: float, for_s: float) -> NDArray[np.float64]:
    """When frames come that a stall keeps back, and then delivers all at once."""
    said_s = in_real_time(length_s)
    return np.where((said_s >= from_s) & (said_s < from_s + for_s), from_s + for_s, said_s)


def slow(length_s: float, *, by: float) -> NDArray[np.float64]:
    """When frames come on a link that is too slow for them."""
    return in_real_time(length_s) / (1 - by)


def a_call(
    options: RecordingOptions | None = None, *, length_s: float = 20.0, came_s: NDArray[np.float64] | None = None
) -> Script:
    """Return a call of leg a, on time, and leg b, whose frames come at these moments."""
    script = Script().start(options)
    script.open("a").send(noise(length_s), at_s=0.0)
    script.open("b").send(
        noise(length_s, seed=2), at_s=0.0, arrivals_s=in_real_time(length_s) if came_s is None else came_s
    )
    return script
