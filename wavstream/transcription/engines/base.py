"""What an engine is: speech in, timed words out. It blocks, and runs in the worker program alone.

1. A failure says whether waiting may help. What is not installed, not set, refused or not this engine's language will
   fail the next time too.
2. What an engine answers is checked before it is used: what is no words, has no times, or is more than anybody can say,
   is a failure that lasts, and not a transcript. What writes to a terminal or ends a line is no part of a word, and a
   language is a name of one, or none was said.
3. What is longer than a word can be is several: a text without spaces is words as any other, whatever its script. Where
   it says nothing of its words, the letters of scripts that have no spaces are taken for them (``model/scripts.py``).
4. Where an engine gives words and a text, the text says which words have a space between them; where it gives words
   alone, their script does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from wavstream.model.scripts import has_no_space_between, is_unspaced, units
from wavstream.transcription.transcript import HeardWord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE_HZ = 16_000
"""Of the samples that engines are given."""
MOST_WORDS_PER_S = 20
"""The fastest speakers say seven."""
LETTERS_PER_WORD = 2
"""Of scripts without spaces: the fastest speakers of Thai say some 25 in a second."""
LONGEST_WORD = 200
"""Characters."""
LONGEST_UNSPACED_WORD = 24
"""Of a script without spaces; what is longer is a sentence."""
_AHEAD = 100
"""Characters in which the next word of a text is looked for."""
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
    words = tuple(piece for word in heard.words for piece in _pieces(_readable(word)))
    letters = sum(is_unspaced(each.word) for each in words)
    said = len(words) - letters + letters / LETTERS_PER_WORD
    if said > MOST_WORDS_PER_S * length_ms / 1000 + MOST_WORDS_PER_S:
        raise EngineFailed(f"the engine answered {len(words)} words for {length_ms / 1000:.1f} s", is_lasting=True)
    if any("\0" in word.word for word in heard.words) or any(not each.word for each in words):
        raise EngineFailed("the engine answered something that is no words", is_lasting=True)
    language = heard.language if heard.language and _LANGUAGE.fullmatch(heard.language) else None
    return replace(heard, words=words, language=language)


def _readable(heard: HeardWord) -> HeardWord:
    """Return a word on one line, without control characters."""
    if heard.word.isprintable() and " " not in heard.word:
        return heard
    text = "".join(" " if each.isspace() else "" if unicodedata.category(each) == "Cc" else each for each in heard.word)
    return replace(heard, word=" ".join(text.split()))


def _pieces(heard: HeardWord) -> Iterator[HeardWord]:
    """Yield a word as it is, or as several where it is longer than one can be (rule 3)."""
    length = len(heard.word)
    if length <= LONGEST_UNSPACED_WORD or (length <= LONGEST_WORD and not is_unspaced(heard.word)):
        yield heard
        return
    for number, each in enumerate(spread(heard.word, heard.start_ms, heard.end_ms)):
        is_joined = each.is_joined if number else heard.is_joined
        yield replace(each, confidence=heard.confidence, is_joined=is_joined)


def spread(text: str, start_ms: int, end_ms: int) -> Iterator[HeardWord]:
    """Yield the words of a text with times spread over a stretch, each as long as its letters are many (rule 3)."""
    words = [(unit, number > 0) for word in text.split() for number, unit in enumerate(units(word, LONGEST_WORD))]
    letters = sum(len(word) + (not is_joined) for word, is_joined in words)
    at = 0
    for word, is_joined in words:
        begin = start_ms + (end_ms - start_ms) * at // letters
        at += len(word) + (not is_joined)
        yield HeardWord(word, begin, start_ms + (end_ms - start_ms) * at // letters, is_joined=is_joined)


def joined(words: Iterable[HeardWord], text: str) -> Iterator[HeardWord]:
    """Yield the words, each of which says whether it follows the one before without a space (rule 4)."""
    text, at, before = text.casefold(), 0, ""
    for each in words:
        word = each.word.casefold()
        place = text.find(word, at, at + len(word) + _AHEAD)
        between = None if place < 0 else text[at:place]
        if between is None or any(letter.isalnum() for letter in between):  # a word that the text does not have
            is_joined = has_no_space_between(before, word)
        else:
            is_joined = not between
        yield replace(each, is_joined=bool(before) and is_joined)
        at, before = (at if place < 0 else place + len(word)), word
