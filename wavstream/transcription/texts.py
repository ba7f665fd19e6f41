"""A transcript as text: plain, and as the subtitles that players take (SubRip, WebVTT).

1. A subtitle is read at a glance: it has at most ``CUE_CHARACTERS`` and lasts at most ``CUE_MS``. A longer segment is
   several, cut between words; one word that is longer stays whole.
2. Each begins with who speaks: the name of the leg in plain text and SubRip, a voice (``<v name>``) in WebVTT.
3. What was said is text and nothing else: what WebVTT would take for markup is escaped, and no text has an empty line
   or ``-->`` in it, which would end a subtitle: not of any row of hyphens.
4. Subtitles are in the order in which they begin, as WebVTT demands: where one speaks into the long segment of
   another, its own lies among those of the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from wavstream.transcription.transcript import Segment, Transcript, Word, names_of

CUE_CHARACTERS = 84
"""Two lines of 42, as subtitles have them."""
CUE_MS = 6_000
_ARROW = re.compile("-{2,}>")

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
        for words in _groups(segment):
            # At least so long that players show it.
            end_ms = max(words[-1].end_ms, words[0].start_ms + 1)
            text = " ".join(" ".join(word.word.split()) for word in words)
            yield Cue(names.get(segment.channel, "?"), words[0].start_ms, end_ms, text)


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


def _groups(segment: Segment) -> Iterator[list[Word]]:
    group: list[Word] = []
    length = 0
    for word in segment.words:
        is_full = length + 1 + len(word.word) > CUE_CHARACTERS
        if group and (is_full or word.end_ms - group[0].start_ms > CUE_MS):
            yield group
            group, length = [], 0
        group.append(word)
        length += len(word.word) + 1
    if group:
        yield group


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
