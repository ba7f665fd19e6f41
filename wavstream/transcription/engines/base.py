"""What an engine is: speech in, timed words out. It blocks, and runs in the worker program alone.

1. A failure says whether waiting may help. What is not installed, not set, refused or not this engine's language will
   fail the next time too.
2. What an engine answers is checked before it is used: what is no words, has no times, or is more than anybody can say,
   is a failure that lasts, and not a transcript.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wavstream.transcription.transcript import HeardWord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE_HZ = 16_000
"""Of the samples that engines are given."""
MOST_WORDS_PER_S = 20
"""The fastest speakers say seven."""
LONGEST_WORD = 200
"""Characters."""
WORD_TIMING, SEGMENT_TIMING = "word", "segment"


class EngineFailed(Exception):
    """The engine cannot make words of this; the text is for whoever runs the server."""

    def __init__(self, message: str, *, is_lasting: bool = False) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting
        """Whether it will fail the next time too (rule 1)."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What an engine heard in a stretch of speech."""

    words: tuple[HeardWord, ...]
    language: str | None = None
    """What it took it for; None: it does not say."""
    timing: str = WORD_TIMING
    """`word`, or `segment` where the times of words are spread over what was said."""


class Engine(Protocol):
    """One engine, ready to work."""

    def hear(self, samples: NDArray[np.int16], language: str | None) -> Heard:
        """Return the words in mono samples, (n,), at ``RATE_HZ``; raise EngineFailed.

        ``language`` is a tag such as `en-US`; None: nobody said.
        """


def checked(heard: Heard, length_ms: int) -> Heard:
    """Return what was heard if it can be words of so much speech (rule 2); raise EngineFailed."""
    words = heard.words
    if len(words) > MOST_WORDS_PER_S * length_ms / 1000 + MOST_WORDS_PER_S:
        raise EngineFailed(f"the engine answered {len(words)} words for {length_ms / 1000:.1f} s", is_lasting=True)
    if any(not 0 < len(word.word) <= LONGEST_WORD or "\0" in word.word for word in words):
        raise EngineFailed("the engine answered something that is no words", is_lasting=True)
    return heard


def spread(text: str, start_ms: int, end_ms: int) -> Iterable[HeardWord]:
    """Yield the words of a text with times spread over a stretch, each as long as its letters are many."""
    words = text.split()
    letters = sum(len(word) + 1 for word in words)
    at = 0
    for word in words:
        begin = start_ms + (end_ms - start_ms) * at // letters
        at += len(word) + 1
        yield HeardWord(word, begin, start_ms + (end_ms - start_ms) * at // letters)
