"""The words of a text, as they are kept for who looks for them, and as they are looked for.

1. A word is letters and digits, in small letters, each in its usual form, however it is composed and however wide.
   Marks belong to the letter before, or Hindi would lose its vowels.
2. Scripts without spaces do not say where a word ends (``model/scripts.py``). Of them each letter is kept, and each
   pair of letters that follow each other. What is looked for is its pairs, or its letter where it is one alone: so any
   part of what was said is found. Now and then what has the same pairs elsewhere is found too.
3. Of a text with too many, words and letters are kept before pairs.
4. All words that are asked for are in one transcript, anywhere. The transcripts of the rarest are looked through, the
   newest first. The others are counted in one question: as one for each, 250 of them took PostgreSQL half a minute to
   plan. What is over and was not swept yet is not found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Select, func, select, text, tuple_

from wavstream.catalog.searching import has_file
from wavstream.catalog.tables import recordings, transcript_words, transcripts
from wavstream.model.scripts import LETTERS

KEPT_WORDS = 20_000
"""Different ones of one transcript that can be looked for: nobody knows more."""
LONGEST_WORD = 64
_VARIANTS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""How the letter before looks."""
# Of a run of letters, digits and marks, no mark is ``\\w``.
_LETTER = rf"(?=\w)[{LETTERS}]\W*"
_PART = re.compile(rf"(?:{_LETTER})+|(?:(?!(?=\w)[{LETTERS}]).)+")
_LETTERS = re.compile(_LETTER)
_RARE = 1_000
"""As far as it is counted which word is the rarest."""
_HOW_RARE = text("""
    SELECT count(*) FROM (SELECT 1 FROM transcript_words WHERE app_id = :app AND word = :word LIMIT :most) AS counted
""")
_UNSPACED = re.compile(rf"(?=\w)[{LETTERS}]")


def words_of(said: str) -> set[str]:
    """Return what can be looked for in a text."""
    return {word for part in _parts(said) for word in (*_singles(part), *_pairs(part))}


def kept_words(said: str) -> list[str]:
    """Return what is kept of a text (rule 3), in order."""
    singles, pairs = set[str](), set[str]()
    for part in _parts(said):
        singles.update(_singles(part))
        pairs.update(_pairs(part))
    found = [*sorted(singles), *sorted(pairs - singles)]
    return sorted([word for word in found if len(word) <= LONGEST_WORD][:KEPT_WORDS])


def sought_words(asked: str) -> list[frozenset[str]]:
    """Return what is looked for: of each word that is asked for, what a text with it has."""
    return [frozenset(_pairs(part) or _singles(part)) for part in _parts(asked)]


def transcripts_with(
    connection: Connection, app_id: str, words: Collection[str], place: tuple[int, str] | None, now: datetime
) -> Select[Any]:
    """Return what selects the app's transcripts beyond a place in which all words are, the newest first (rule 4)."""
    counts = {
        word: connection.execute(_HOW_RARE, {"app": app_id, "word": word, "most": _RARE}).scalar() for word in words
    }
    rarest, *others = sorted(words, key=lambda word: counts[word] or 0)
    first = transcript_words.alias()
    statement = (
        select(first.c.recording_id, first.c.recording_id.label("id"), first.c.made_us, transcripts.c.document)
        .join(transcripts, transcripts.c.recording_id == first.c.recording_id)
        .join(recordings, recordings.c.id == first.c.recording_id)
        .where(first.c.app_id == app_id, first.c.word == rarest, has_file(now))
    )
    if others:
        other = transcript_words.alias()
        there = select(func.count()).where(
            other.c.app_id == app_id,
            other.c.word.in_(others),
            other.c.made_us == first.c.made_us,
            other.c.recording_id == first.c.recording_id,
        )
        statement = statement.where(there.scalar_subquery() == len(others))
    if place is not None:
        statement = statement.where(tuple_(first.c.made_us, first.c.recording_id) < tuple_(*place))
    return statement.order_by(first.c.made_us.desc(), first.c.recording_id.desc())


def _parts(said: str) -> Iterator[str]:
    """Yield the words of a text; of scripts without spaces, what follows each other (rules 1 and 2)."""
    usual = unicodedata.normalize("NFKC", _VARIANTS.sub("", said)).casefold()
    ends = {ord(each): " " for each in set(usual) if not each.isalnum() and unicodedata.category(each)[0] != "M"}
    for run in usual.translate(ends).split():
        yield from (part for part in _PART.findall(run) if any(letter.isalnum() for letter in part))


def _singles(part: str) -> list[str]:
    return _LETTERS.findall(part) if _UNSPACED.match(part) else [part]


def _pairs(part: str) -> list[str]:
    if not _UNSPACED.match(part):
        return []
    return [first + second for first, second in pairwise(_LETTERS.findall(part))]
