"""Stretches of a transcript that may be numbers of payment cards, offered to whoever redacts. Nothing is redacted.

1. A number is looked for in the words of one channel that follow each other: as digits (``4111 1111 1111 1111``, also
   with hyphens), and as digits that are spoken in English (``four one one one``, ``oh``, ``double five``).
2. It is a card's where it has 13 to 19 digits, begins as cards of the large schemes do, and its check digit is right
   (Luhn). One number in ten that is none passes that, so what is offered is looked at by a person or a rule of its own.
3. A span covers whole words, from the first to the last that have digits of the number. Other words between two digits
   end a number, but for a few that people say in between (``uh``, ``and``, ``then``).
4. Digits of several utterances of one channel are one number where less than ``APART_MS`` lies between them: numbers
   are said in groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wavstream.transcription.transcript import Transcript, Word

APART_MS = 8_000
SHORTEST, LONGEST = 13, 19
_SCHEMES = re.compile(r"(?:4|5[0-8]|2[2-7]|3[0-9]|6)\d+")
_SAID = {
    "zero": "0", "oh": "0", "o": "0", "nought": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5",
    "six": "6", "seven": "7", "eight": "8", "nine": "9",
}  # fmt: skip
_TIMES = {"double": 2, "triple": 3}
_BETWEEN = frozenset({"uh", "um", "and", "then", "er", "hyphen", "dash", "space"})


@dataclass(frozen=True, slots=True)
class RedactionSpan:
    """A stretch that may have to be redacted."""

    kind: str
    """`card_number`."""
    channel: int
    start_ms: int
    """In the file."""
    end_ms: int
    call_start_ms: int
    last_digits: str
    """The last four, to tell which one it is."""


def redaction_spans(transcript: Transcript) -> list[RedactionSpan]:
    """Return what may be card numbers, in the order in which they begin."""
    found: list[RedactionSpan] = []
    for speaker in transcript.speakers:
        words = [word for each in transcript.segments if each.channel == speaker.channel for word in each.words]
        for run in _runs(words):
            found += _cards(run, speaker.channel)
    return sorted(found, key=lambda span: (span.start_ms, span.channel))


def passes_luhn(digits: str) -> bool:
    """Return whether the last digit is the check digit of the others (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _runs(words: list[Word]) -> Iterator[list[tuple[str, Word]]]:
    """Yield digits that follow each other, each with the word that it is of (rules 1, 3 and 4)."""
    run: list[tuple[str, Word]] = []
    times = 1
    for word in words:
        text = word.word.casefold().strip(".,;:!?").removesuffix("'s")
        if run and word.start_ms - run[-1][1].end_ms > APART_MS:
            yield run
            run = []
        if text in _TIMES:
            times = _TIMES[text]
            continue
        digits = _SAID.get(text, text.replace("-", ""))
        if digits.isascii() and digits.isdigit():
            run += [(digit, word) for digit in digits * times]
        elif text not in _BETWEEN:
            if run:
                yield run
            run = []
        times = 1
    if run:
        yield run


def _cards(run: list[tuple[str, Word]], channel: int) -> Iterator[RedactionSpan]:
    """Yield the card numbers in a run of digits (rule 2), the longest that begins first first; they do not overlap."""
    digits = "".join(digit for digit, _ in run)
    at = 0
    while at + SHORTEST <= len(digits):
        for length in range(min(LONGEST, len(digits) - at), SHORTEST - 1, -1):
            number = digits[at : at + length]
            if _SCHEMES.fullmatch(number) and passes_luhn(number):
                first, last = run[at][1], run[at + length - 1][1]
                yield RedactionSpan(
                    "card_number", channel, first.start_ms, last.end_ms, first.call_start_ms, number[-4:]
                )
                at += length
                break
        else:
            at += 1
