"""Scripts that put no spaces between words, such as those of Chinese, Japanese and Thai. Korean has spaces.

1. Where nobody says where a word of them ends, each letter is a unit: with the vowels and marks that belong to it, and
   with the punctuation behind it, or the bracket before it. So a text can be cut, and lines can be wrapped, between any
   two units: none begins with what closes a sentence, with a small kana or with a vowel of the letter before.
2. What lies between such letters, as the name of a product in Chinese, is a unit as it is.
3. No unit is longer than is asked for: what is longer (a row of points, a cry) is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

LETTERS = (
    "\u0e01-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u1b00-\u1b7f"  # Thai to Tibetan, Burmese, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u312f"
    "\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff\uff66-\uff9f"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)
"""A class of a regular expression. Marks and digits of these scripts are in it: ``(?=\\w)`` leaves the marks out."""
_LETTER = rf"(?=\w)[{LETTERS}]"
_BEFORE = "\u0e40-\u0e44\u0ec0-\u0ec4"
"""Vowels that are written before their letter: Thai, Lao."""
_BEHIND = (
    "\u0e2f\u0e30\u0e32\u0e33\u0e45\u0e46\u0eaf\u0eb0\u0eb2\u0eb3\u0ec6\u3005\u303b\u309d\u309e\u30fc-\u30fe\uff70"
    "\u3041\u3043\u3045\u3047\u3049\u3063\u3083\u3085\u3087\u308e\u3095\u3096"
    "\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7\u30ee\u30f5\u30f6\uff67-\uff6f"
)
"""What no line begins with: vowels behind their letter, small kana, what lengthens or repeats."""
_OPENS = (
    r"(\[{<\u00ab\u2018\u201c\u3008\u300a\u300c\u300e\u3010\u3014\u3016\u3018\u301a\u301d\uff08\uff3b\uff5b\uff5f\uff62"
)
_STACKS = "\u1039\u17d2"
"""What puts the next letter below the one before: Burmese, Khmer."""
_ENDS = rf"(?:[{_STACKS}]{_LETTER}|[{_BEHIND}]|[^\w\s{_OPENS}])*"
_UNIT = re.compile(
    rf"[{_OPENS}]{{0,3}}(?:[{_BEFORE}](?={_LETTER}))?{_LETTER}{_ENDS}"
    rf"|(?:(?![{_OPENS}]{{0,3}}{_LETTER})\S)+"  # rule 2
)
_HAS = re.compile(_LETTER)
_PUNCTUATION = re.compile("[\u3001-\u3003\u3008-\u301f\u30fb\ufe30-\ufe4f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff65]")


def is_unspaced(text: str) -> bool:
    """Return whether a letter of such a script is in a text."""
    return _HAS.search(text) is not None


def has_no_space_between(before: str, after: str) -> bool:
    """Return whether two words follow each other without a space, as their letters have it."""
    ends = (before[-1:], after[:1])
    return all(_HAS.match(each) or _PUNCTUATION.match(each) or _is_mark(each) for each in ends)


def units(text: str, longest: int) -> Iterator[str]:
    """Yield the units of a text that has no spaces (rules 1 to 3); of any other script it is one."""
    for found in _UNIT.finditer(text):
        unit = found.group()
        yield from (unit[at : at + longest] for at in range(0, len(unit), longest))


def _is_mark(letter: str) -> bool:
    """Return whether it is a mark of such a script, as a Thai word ends with."""
    return re.match(f"[{LETTERS}]", letter) is not None
