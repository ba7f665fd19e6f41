"""What an engine is: speech in, timed words out. It blocks, and runs in the worker program alone.

1. A failure says whether waiting may help. What is not installed, not set, refused or not this engine's language will
   fail the next time too.
2. What an engine answers is checked before it is used: what is no words, has no times, or is more than anybody can say,
   is a failure that lasts, and not a transcript. What writes to a terminal or ends a line is no part of a word, and a
   language is a name of one, or none was said.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
_LANGUAGE = re.compile(r"[A-Za-z][A-Za-z0-9 _-]{0,63}")
"""A tag, or its name, as OpenAI's answers have it."""
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
    words = tuple(_readable(word) for word in heard.words)
    if len(words) > MOST_WORDS_PER_S * length_ms / 1000 + MOST_WORDS_PER_S:
        raise EngineFailed(f"the engine answered {len(words)} words for {length_ms / 1000:.1f} s", is_lasting=True)
    if any("\0" in word.word for word in heard.words) or any(not 0 < len(each.word) <= LONGEST_WORD for each in words):
        raise EngineFailed("the engine answered something that is no words", is_lasting=True)
    language = heard.language if heard.language and _LANGUAGE.fullmatch(heard.language) else None
    return replace(heard, words=words, language=language)


def _readable(heard: HeardWord) -> HeardWord:
    """Return a word on one line, without control characters."""
    if heard.word.isprintable() and " " not in heard.word:
        return heard
    text = "".join(" " if each.isspace() else "" if unicodedata.category(each) == "Cc" else each for each in heard.word)
    return replace(heard, word=" ".join(text.split()))


def spread(text: str, start_ms: int, end_ms: int) -> Iterable[HeardWord]:
    """Yield the words of a text with times spread over a stretch, each as long as its letters are many."""
    words = text.split()
    letters = sum(len(word) + 1 for word in words)
    at = 0
    for word in words:
        begin = start_ms + (end_ms - start_ms) * at // letters
        at += len(word) + 1
        yield HeardWord(word, begin, start_ms + (end_ms - start_ms) * at // letters)
