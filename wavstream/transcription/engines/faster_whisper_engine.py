"""faster-whisper: the Whisper models by CTranslate2, from a folder of this machine. Nothing is downloaded.

1. The model is a folder that the settings name (``transcription.model``), as ``ct2-transformers-converter`` writes it
   or as it is published: with ``model.bin`` and ``tokenizer.json`` in it. A name of a model would be downloaded, and
   so would the second file be where it lacks: both are refused.
2. It works on one thread, as each worker program does; for more at once there are more of them.
3. Each stretch stands by itself: what was said before would be believed to be said again in noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wavstream.transcription.engines.base import EngineFailed, Heard, joined, spread
from wavstream.transcription.transcript import HeardWord

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSTALL = "pip install faster-whisper"
_NEEDED = ("model.bin", "tokenizer.json")


class FasterWhisperEngine:
    """A Whisper model."""

    def __init__(self, model: str) -> None:
        """Load the model of a folder, which takes some seconds; raise EngineFailed."""
        folder = Path(model)
        for name in _NEEDED:  # rule 1
            if not (folder / name).is_file():
                raise EngineFailed(
                    f"transcription.model {model!r} is no folder with a {name} in it: put a converted model "
                    "there, with its tokenizer.json",
                    is_lasting=True,
                )
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise EngineFailed(f"faster-whisper is not installed: {INSTALL}", is_lasting=True) from error
        try:
            self._model: Any = WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1, local_files_only=True
            )
        except Exception as error:  # of `tokenizers` it is no other: a tokenizer.json that is broken
            raise EngineFailed(f"the model in {model} cannot be loaded: {error}", is_lasting=True) from error

    def hear(self, samples: NDArray[np.int16], language: str | None) -> Heard:
        """Return the words; raise EngineFailed for a language that the model does not have."""
        tag = None if language in (None, "auto") else str(language).casefold().partition("-")[0]
        if tag not in (None, "en") and not self._model.model.is_multilingual:  # it would be taken for English
            raise EngineFailed(f"the model has English alone, and this is {language}", is_lasting=True)
        try:
            segments, info = self._model.transcribe(
                samples.astype(np.float32) / 32_768,
                language=tag,
                word_timestamps=True,
                condition_on_previous_text=False,  # rule 3
                vad_filter=False,
            )
            heard = [*segments]
        except ValueError as error:
            raise EngineFailed(f"{language}: {error}", is_lasting=True) from error
        except RuntimeError as error:
            raise EngineFailed(str(error)) from error
        words: list[HeardWord] = []
        for segment in heard:
            if segment.words is None:
                words += spread(segment.text, _ms(segment.start), _ms(segment.end))
                continue
            timed = (
                HeardWord(text, _ms(word.start), _ms(word.end), round(float(word.probability), 3))
                for word in segment.words
                if (text := word.word.strip())
            )
            words += joined(timed, segment.text)
        return Heard(tuple(words), language=language if tag is not None else info.language)


def _ms(seconds: float) -> int:
    return round(float(seconds) * 1000)
