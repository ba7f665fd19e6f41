"""PocketSphinx: English, offline, its model in its wheel. Small, and rough: docs/transcription.md has what it finds.

1. Its model was trained on speech of 16 kHz. A call has 8, and pauses of a call may be digital silence: both are bands
   without any power, for which the model has no sound. Noise at -54 dBFS fills them. On the voices of the demo that is
   a word error rate of 0.75 in place of 0.94 (0.97 at -75 dBFS, 0.84 at -48).
2. It begins each stretch anew: what a channel sounded like before is another channel's as often as not.
3. What it says of its confidence is 1 for nearly every word, right or wrong, so it is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from wavstream.transcription.engines.base import RATE_HZ, EngineFailed, Heard
from wavstream.transcription.transcript import HeardWord

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSTALL = "pip install 'wavstream[transcribe]'"
_FRAME_MS = 10
_NOISE = 60.0
"""Root mean square, of 32768 (rule 1)."""
_VARIANT = re.compile(r"\(\d+\)$")


class PocketSphinxEngine:
    """PocketSphinx with the model of its wheel."""

    def __init__(self) -> None:
        """Load the model, which takes a second or two; raise EngineFailed."""
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise EngineFailed(f"pocketsphinx is not installed: {INSTALL}", is_lasting=True) from error
        self._decoder: Any = Decoder(samprate=float(RATE_HZ), loglevel="FATAL")
        self._start_cmn = self._decoder.get_cmn()

    def hear(self, samples: NDArray[np.int16], language: str | None) -> Heard:
        """Return the words; raise EngineFailed for another language than English."""
        if language is not None and language.casefold().partition("-")[0] not in ("en", "auto"):
            raise EngineFailed(f"pocketsphinx has English alone, and this is {language}", is_lasting=True)
        noise = np.random.default_rng(len(samples)).normal(0.0, _NOISE, len(samples))
        filled = np.rint(samples + noise).clip(-32_768, 32_767).astype("<i2")
        decoder = self._decoder
        decoder.set_cmn(self._start_cmn)  # rule 2
        decoder.start_stream()
        decoder.start_utt()
        decoder.process_raw(filled.tobytes(), full_utt=True)
        decoder.end_utt()
        return Heard(tuple(_words(decoder.seg() or ())), language="en-US")


def _words(segments: Any) -> Iterator[HeardWord]:
    """Yield the words (rule 3)."""
    for segment in segments:
        text = _VARIANT.sub("", segment.word)
        if not text.startswith(("<", "[", "++")):  # silence and noises
            yield HeardWord(text, segment.start_frame * _FRAME_MS, (segment.end_frame + 1) * _FRAME_MS)
