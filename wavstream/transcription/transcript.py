"""A transcript: what was said in a finished file, by channel, with the times of each word.

1. Times are milliseconds of the file. Each word and segment also has its time in the call: what was cut from the
   beginning of the file, and pauses that left nothing in it, lie between the two. A pause ends before the first word
   behind it.
2. A channel has the legs that are heard on it. In a mono file all are heard on one.
3. A segment is what was said in one go: one stretch of speech, at most half a minute.
4. What an engine says is not trusted: words have their places within their segment, one behind the other.
5. A text is its words with a space between them, but where they have none: in Chinese, Japanese, Thai and the like,
   where a word may be one letter (``model/scripts.py``), and where an engine gives parts of words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from wavstream.model.audio import Channel
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import Recording


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word as an engine gives it, in its stretch of speech."""

    word: str
    start_ms: int
    """From the beginning of the stretch."""
    end_ms: int
    confidence: float | None = None
    """From 0 to 1; None: the engine does not say."""
    is_joined: bool = False
    """Whether it follows the word before without a space (rule 5)."""


@dataclass(frozen=True, slots=True)
class HeardSpan:
    """A stretch of speech on one channel, with its words."""

    channel: int
    """From 0."""
    start_ms: int
    """In the file."""
    end_ms: int
    words: tuple[HeardWord, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """One word."""

    word: str
    start_ms: int
    """In the file."""
    end_ms: int
    call_start_ms: int
    """In the call, from the start of the recording."""
    confidence: float | None = None
    """From 0 to 1; null: the engine does not say."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What one channel said in one go."""

    channel: int
    start_ms: int
    end_ms: int
    call_start_ms: int
    text: str
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Speaker:
    """One channel of the file and who is heard on it."""

    channel: int
    side: str
    """`left` or `right`; of a mono file `mono`."""
    legs: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the channel is called in texts."""
        return " and ".join(self.legs) or self.side


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in one recording."""

    id: str
    recording_id: str
    language: str
    """A tag such as `en-US`."""
    engine: str
    timing: str
    """`word`: each word has its own times; `segment`: they are spread over what was said in one go."""
    duration_ms: int
    """Of the file."""
    speech_ms: int
    """Of all channels together: so much was given to the engine."""
    work_ms: int
    """Milliseconds of CPU that it took here."""
    speakers: tuple[Speaker, ...]
    segments: tuple[Segment, ...]
    """In the order in which they begin."""

    @property
    def text(self) -> str:
        """All that was said, a line for each segment."""
        return "\n".join(segment.text for segment in self.segments)

    @property
    def word_count(self) -> int:
        """How many words were said."""
        return sum(len(segment.words) for segment in self.segments)


class CallTime:
    """The call's time of each moment of a file (rule 1)."""

    def __init__(self, recording: Recording) -> None:
        """Take what the receipt of a finished recording says."""
        receipt = recording.receipt
        self._trimmed_ms, self._pauses = 0, list[tuple[int, int]]()
        if receipt is None:
            return
        self._trimmed_ms = receipt.integrity.trimmed_ms.start
        usual = recording.options.pause_behavior
        self._pauses = sorted(
            (pause.start_ms, pause.length_ms)
            for pause in receipt.integrity.pauses
            if (pause.behavior or usual) is PauseBehavior.SKIP
        )

    def of(self, file_ms: int) -> int:
        """Return the milliseconds from the start of the recording in the call."""
        call_ms = file_ms + self._trimmed_ms
        for start_ms, length_ms in self._pauses:
            if start_ms > call_ms:
                break
            call_ms += length_ms
        return call_ms


def speakers_of(recording: Recording) -> tuple[Speaker, ...]:
    """Return the channels of a finished recording, with their legs (rule 2)."""
    receipt = recording.receipt
    assert receipt is not None
    if receipt.channels == 1:
        return (Speaker(0, "mono", tuple(dict.fromkeys(leg.leg for leg in receipt.legs))),)
    sides = (Channel.LEFT, Channel.RIGHT)
    return tuple(
        Speaker(number, side.value, tuple(dict.fromkeys(leg.leg for leg in receipt.legs if leg.channel is side)))
        for number, side in enumerate(sides[: receipt.channels])
    )


def make_transcript(
    recording: Recording,
    heard: Sequence[HeardSpan],
    *,
    transcript_id: str,
    language: str,
    engine: str,
    timing: str,
    work_ms: int,
) -> Transcript:
    """Return the transcript of a finished recording, of what an engine heard in it."""
    assert recording.receipt is not None
    call_time = CallTime(recording)
    segments = [_segment(span, call_time) for span in heard if span.words]
    return Transcript(
        id=transcript_id,
        recording_id=recording.id,
        language=language,
        engine=engine,
        timing=timing,
        duration_ms=recording.receipt.duration_ms,
        speech_ms=sum(span.end_ms - span.start_ms for span in heard),
        work_ms=work_ms,
        speakers=speakers_of(recording),
        segments=tuple(sorted(segments, key=lambda segment: (segment.start_ms, segment.channel))),
    )


def _segment(span: HeardSpan, call_time: CallTime) -> Segment:
    words, at = [], span.start_ms
    for heard in span.words:  # rule 4
        start_ms = min(max(span.start_ms + heard.start_ms, at), span.end_ms)
        end_ms = min(max(span.start_ms + heard.end_ms, start_ms), span.end_ms)
        words.append(Word(heard.word, start_ms, end_ms, call_time.of(start_ms), heard.confidence))
        at = start_ms
    return Segment(
        channel=span.channel,
        start_ms=words[0].start_ms,
        end_ms=words[-1].end_ms,
        call_start_ms=words[0].call_start_ms,
        text="".join(f"{'' if word.is_joined else ' '}{word.word}" for word in span.words).strip(),
        words=tuple(words),
    )


def encode(transcript: Transcript) -> bytes:
    """Return the transcript as JSON: what the API answers and what lies beside the file."""
    return msgspec.json.encode(transcript)


def decode(content: bytes) -> Transcript:
    """Return the transcript of such JSON; raise ValueError if it is none."""
    return msgspec.json.decode(content, type=Transcript)


def names_of(transcript: Transcript) -> Mapping[int, str]:
    """Return what each channel is called in texts."""
    return {speaker.channel: speaker.name for speaker in transcript.speakers}


def places_of_words(segment: Segment) -> Iterator[tuple[Word, int, int]]:
    """Yield each word of a segment, with where it begins and ends in the text."""
    at = 0
    for word in segment.words:
        at = max(segment.text.find(word.word, at), at)
        yield word, at, at + len(word.word)
        at += len(word.word)


def all_words(transcript: Transcript) -> Iterator[Word]:
    """Yield every word, segment by segment."""
    for segment in transcript.segments:
        yield from segment.words
