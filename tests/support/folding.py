"""Folds a script whole and hands back the samples of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wavstream.rendering.fold import Fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.journal_script import Script
    from wavstream.model.recording import Integrity
    from wavstream.rendering.account import FileAccount


@dataclass(frozen=True, slots=True)
class Folded:
    """What a fold made of a script."""

    fold: Fold
    samples: NDArray[np.int16]
    """(samples, channels)."""
    account: FileAccount

    @property
    def integrity(self) -> Integrity:
        return self.account.integrity

    @property
    def left(self) -> NDArray[np.int16]:
        return self.samples[:, 0]

    @property
    def right(self) -> NDArray[np.int16]:
        return self.samples[:, 1]


def folded(script: Script, *, clock_s: float = 0.5) -> Folded:
    """Return the whole script, fed at once."""
    fold = Fold(script.recording_id)
    audio = fold.feed(script.items(clock_s=clock_s))
    account = fold.account()
    return Folded(fold, np.frombuffer(audio, "<i2").reshape(-1, account.channels), account)


def noise(length_s: float, *, rate_hz: int = 8000, seed: int = 1) -> NDArray[np.int16]:
    """Return samples of which no two stretches are alike, none zero, (samples,)."""
    values = np.random.default_rng(seed).integers(1, 9000, round(length_s * rate_hz))
    return values.astype(np.int16)
