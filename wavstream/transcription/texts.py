"""A transcript as text: plain, and as the subtitles that players take (SubRip, WebVTT).

1. A subtitle is read at a glance: it has at most ``CUE_CHARACTERS`` and lasts at most ``CUE_MS``. A longer segment is
   several, cut between words; one word that is longer stays whole. A letter that is as wide as two, as Chinese and
   Japanese have them, counts for two. Where no space lies between words, it is cut behind what ends a sentence, or a
   part of one, if that is in the second half; else between any two of such a script.
2. Each begins with who speaks: the name of the leg in plain text and SubRip, a voice (``<v name>``) in WebVTT.
3. What was said is text and nothing else: what WebVTT would take for markup is escaped, and no text has an empty line
   or ``-->`` in it, which would end a subtitle: not of any row of hyphens.
4. Subtitles are in the order in which they begin, as WebVTT demands: where one speaks into the long segment of
   another, its own lies among those of the other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from wavstream.model.scripts import is_unspaced
from wavstream.transcription.transcript import Segment, Transcript, Word, names_of, places_of_words

CUE_CHARACTERS = 84
"""Two lines of 42, as subtitles have them."""
CUE_MS = 6_000
_ARROW = re.compile("-{2,}>")
_Placed = tuple[Word, int, int]
"""A word, and where it begins and ends in the text of its segment."""

MEDIA_TYPES = {"txt": "text/plain; charset=utf-8", "srt": "application/x-subrip; charset=utf-8", "vtt": "text/vtt"}


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle."""

    speaker: str
    start_ms: int
    end_ms: int
    text: str


def cues(transcript: Transcript) -> Iterator[Cue]:
    """Yield the subtitles of a transcript, in the order in which they begin (rules 1 and 4)."""
    yield from sorted(_cues(transcript), key=lambda cue: cue.start_ms)


def _cues(transcript: Transcript) -> Iterator[Cue]:
    names = names_of(transcript)
    for segment in transcript.segments:
        for group in _groups(segment):
            (first, start, _), (last, _, end) = group[0], group[-1]
            # At least so long that players show it.
            end_ms = max(last.end_ms, first.start_ms + 1)
            yield Cue(names.get(segment.channel, "?"), first.start_ms, end_ms, _one_line(segment.text[start:end]))


def as_text(transcript: Transcript) -> str:
    """Return it as plain text: a line for each segment, with its time in the file and who speaks."""
    names = names_of(transcript)
    lines = []
    for segment in transcript.segments:
        at, speaker = _clock(segment.start_ms, ".")[:-4], _one_line(names.get(segment.channel, "?"))
        lines.append(f"[{at}] {speaker}: {_one_line(segment.text)}")
    return "".join(f"{line}\n" for line in lines)


def as_srt(transcript: Transcript) -> str:
    """Return it as SubRip."""
    blocks = []
    for number, cue in enumerate(cues(transcript), start=1):
        times = f"{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}"
        said = _ARROW.sub("->", f"{_one_line(cue.speaker)}: {cue.text}")  # rule 3
        blocks.append(f"{number}\n{times}\n{said}\n")
    return "\n".join(blocks)


def as_vtt(transcript: Transcript) -> str:
    """Return it as WebVTT."""
    blocks = ["WEBVTT\n"]
    for cue in cues(transcript):
        times = f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}"
        blocks.append(f"{times}\n<v {_escaped(_one_line(cue.speaker))}>{_escaped(cue.text)}\n")
    return "\n".join(blocks)


WRITERS = {"txt": as_text, "srt": as_srt, "vtt": as_vtt}
"""By the extension of the address."""


def _groups(segment: Segment) -> Iterator[list[_Placed]]:
    """Yield the words of a segment that make a subtitle each (rule 1)."""
    widths = [0, *accumulate(_width(letter) for letter in segment.text)]
    group: list[_Placed] = []
    for placed in places_of_words(segment):
        word, _, end = placed
        while group and (
            widths[end] - widths[group[0][1]] > CUE_CHARACTERS or word.end_ms - group[0][0].start_ms > CUE_MS
        ):
            at = _cut(segment.text, [*group, placed])
            yield group[:at]
            group = group[at:]
        group.append(placed)
    if group:
        yield group


def _cut(text: str, group: Sequence[_Placed]) -> int:
    """Return before which word of a group a subtitle ends: the last of the best places of its second half."""

    def worth(at: int) -> tuple[int, int, int]:
        before, after = text[group[at - 1][1] : group[at - 1][2]], text[group[at][1] : group[at][2]]
        is_space = group[at - 1][2] < group[at][1]
        is_between = is_unspaced(before) or is_unspaced(after)
        ends = is_between and unicodedata.category(before[-1:] or " ")[0] == "P"
        begins = unicodedata.category(after[:1] or " ") in ("Pe", "Pf", "Po")  # what ends a sentence begins no line
        return 2 * at >= len(group) - 1, 2 if is_space or ends else int(is_between and not begins), at

    return max(range(1, len(group)), key=worth)


def _width(letter: str) -> int:
    if unicodedata.east_asian_width(letter) in ("W", "F"):
        return 2
    return 0 if unicodedata.category(letter) in ("Mn", "Me", "Cf") else 1


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
