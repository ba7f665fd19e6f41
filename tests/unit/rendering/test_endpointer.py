"""Recordings that end by themselves end at the sample, and what is trimmed is silence."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.examples import examples
from tests.support.speech import RATE_HZ, caller, hello, mu_law_silence, silence, white_noise
from wavstream.model.options import RecordingOptions, Trim
from wavstream.model.recording import EndReason
from wavstream.rendering.speech.detector import Detector, frame_start
from wavstream.rendering.speech.endpointer import Endpointer, needs_endpointer

Samples = NDArray[np.int16]
MARGIN = RATE_HZ // 5
FRAME = RATE_HZ // 50
TRIM = RecordingOptions(trim=Trim.SILENCE)


@dataclass(frozen=True)
class Ended:
    """What came out of a recording."""

    file: Samples
    """Mono; all that was given to the encoder."""
    start: int | None
    """Sample of the recorded time at which it begins."""
    ended: tuple[EndReason, int] | None
    kept: int | None
    has_speech: bool
    trimmed: tuple[int, int]

    @property
    def heard(self) -> Samples:
        """What stays of the file."""
        return self.file[: self.kept]


def record(line: Samples, options: RecordingOptions, lengths: list[int] | None = None) -> Ended:
    """Record one channel in blocks of these lengths and a last one for the rest; by default of 150 ms."""
    cuts = np.cumsum(lengths) if lengths is not None else np.arange(1_200, len(line), 1_200)
    endpointer, pieces = Endpointer(options, rate_hz=RATE_HZ, channels=1), []
    kept = [endpointer.kept or 0]
    for block in np.split(line[:, np.newaxis], cuts):
        pieces += endpointer.take(block)
        kept.append(endpointer.kept or 0)
    pieces += endpointer.finish()
    assert kept == sorted(kept)
    for (at, samples), (following, _) in pairwise(pieces):
        assert at + len(samples) == following
    return Ended(
        file=np.concatenate([samples for _, samples in pieces])[:, 0] if pieces else silence(0),
        start=pieces[0][0] if pieces else None,
        ended=endpointer.ended,
        kept=endpointer.kept,
        has_speech=endpointer.has_speech,
        trimmed=(endpointer.trimmed_start, endpointer.trimmed_end),
    )


def say(*sounds: Samples | float) -> Samples:
    """Sounds one after the other; a number is so many seconds of silence."""
    return np.concatenate([silence(sound) if isinstance(sound, int | float) else sound for sound in sounds])


def speech(line: Samples) -> tuple[int, int]:
    """Return the start of the first frame with speech and the end of the last, as the detector hears them."""
    found = np.flatnonzero(Detector(RATE_HZ, 1, RecordingOptions().sensitivity).hear(line[:, np.newaxis]))
    return frame_start(int(found[0]), RATE_HZ), frame_start(int(found[-1]) + 1, RATE_HZ)


def test_only_limits_timeouts_and_trim_need_it() -> None:
    assert not needs_endpointer(RecordingOptions(terminators="#", beep=True))
    assert needs_endpointer(RecordingOptions(max_length_s=1))
    assert needs_endpointer(RecordingOptions(initial_timeout_s=0.5))
    assert needs_endpointer(RecordingOptions(end_silence_timeout_s=0.5))
    assert needs_endpointer(TRIM)


@pytest.mark.parametrize("second", [6_999, 9_001])
def test_the_longest_recording_ends_at_its_sample_and_nothing_is_held_before(second: int) -> None:
    endpointer = Endpointer(RecordingOptions(max_length_s=2), rate_hz=RATE_HZ, channels=2)
    block = np.ones((9_001, 2), np.int16)
    assert [(at, len(samples)) for at, samples in endpointer.take(block)] == [(0, 9_001)]
    assert endpointer.ended is None
    assert [(at, len(samples)) for at, samples in endpointer.take(block[:second])] == [(9_001, 6_999)]
    assert endpointer.ended == (EndReason.MAX_LENGTH, 16_000)
    assert endpointer.take(block) == endpointer.finish() == []
    assert not endpointer.has_speech
    assert endpointer.kept is None


@pytest.mark.parametrize("quiet", [silence, mu_law_silence, lambda length_s: white_noise(length_s, -50)])
def test_silence_after_speech_ends_it_its_length_after_the_last_word(quiet: object) -> None:
    assert callable(quiet)
    ended = record(say(caller(), quiet(7)), RecordingOptions(end_silence_timeout_s=5))
    assert ended.ended is not None
    reason, at = ended.ended
    assert reason is EndReason.SILENCE
    assert at / RATE_HZ == pytest.approx(10.74 + 5, abs=0.1)
    assert len(ended.file) == at
    assert at == speech(say(caller(), 1))[1] + 5 * RATE_HZ


@pytest.mark.parametrize("quiet", [silence, mu_law_silence, lambda length_s: white_noise(length_s, -50)])
def test_silence_before_any_speech_ends_nothing(quiet: object) -> None:
    assert callable(quiet)
    ended = record(quiet(20), RecordingOptions(end_silence_timeout_s=5))
    assert ended.ended is None
    assert not ended.has_speech
    assert len(ended.file) == 20 * RATE_HZ


def test_each_word_starts_the_silence_anew() -> None:
    line = say(1, hello(), 1.9, hello(), 1.9, hello(), 3, hello())
    ended = record(line, RecordingOptions(end_silence_timeout_s=2))
    last_word = round((1 + 3 * 0.39 + 2 * 1.9) * RATE_HZ)
    assert ended.ended is not None
    assert ended.ended[1] == pytest.approx(last_word + 2 * RATE_HZ, abs=0.04 * RATE_HZ)


def test_nobody_speaking_at_first_ends_it_at_the_sample() -> None:
    ended = record(say(5, hello()), RecordingOptions(initial_timeout_s=2.7125))
    assert ended.ended == (EndReason.NO_INPUT, 21_700)
    assert len(ended.file) == 21_700
    assert not ended.has_speech


@pytest.mark.parametrize("lengths", [None, []])
def test_speech_that_begins_in_the_frame_of_a_limit_is_in_time(lengths: list[int] | None) -> None:
    line = say(3, hello(), 3)
    start = speech(line)[0]
    for samples, reason in ((0, EndReason.NO_INPUT), (1, EndReason.SILENCE)):
        limit_s = (start + samples) / RATE_HZ
        ended = record(line, RecordingOptions(initial_timeout_s=limit_s, end_silence_timeout_s=1), lengths)
        assert ended.ended is not None
        assert ended.ended[0] is reason


@pytest.mark.parametrize("lengths", [None, []])
def test_a_word_in_the_frame_where_the_silence_ends_goes_on(lengths: list[int] | None) -> None:
    line = say(hello(), 3, hello(), 9)
    first_end, second_start = speech(say(hello(), 1))[1], speech(say(0.39 + 3, hello(), 1))[0]
    for samples, hears_second in ((0, False), (1, True)):
        gap_s = (second_start - first_end + samples) / RATE_HZ
        ended = record(line, RecordingOptions(end_silence_timeout_s=gap_s), lengths)
        assert ended.ended is not None
        assert (ended.ended[1] > second_start) == hears_second


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (RecordingOptions(initial_timeout_s=0.9, end_silence_timeout_s=3, max_length_s=4), EndReason.NO_INPUT),
        (RecordingOptions(initial_timeout_s=2, end_silence_timeout_s=2, max_length_s=4), EndReason.SILENCE),
        (RecordingOptions(initial_timeout_s=2, end_silence_timeout_s=3, max_length_s=4), EndReason.MAX_LENGTH),
        (RecordingOptions(initial_timeout_s=1, max_length_s=1), EndReason.NO_INPUT),
    ],
)
@pytest.mark.parametrize("lengths", [[], [160] * 1000, [31_990]])
def test_the_limit_that_is_reached_first_ends_it(
    options: RecordingOptions, reason: EndReason, lengths: list[int]
) -> None:
    ended = record(say(1.02, hello(), 8, hello()), options, lengths)
    assert ended.ended is not None
    assert ended.ended[0] is reason
    assert len(ended.file) == ended.ended[1]


@pytest.mark.parametrize("lead_s", [0, 0.1, 0.2, 0.3, 4.0177])
@pytest.mark.parametrize("quiet", [silence, mu_law_silence])
def test_trim_leaves_the_words_and_200_ms_at_both_ends(lead_s: float, quiet: object) -> None:
    assert callable(quiet)
    words = caller()[22_720:85_920]
    line = say(quiet(lead_s), words, quiet(6))
    ended = record(line, TRIM)
    at, behind = round(lead_s * RATE_HZ), round(lead_s * RATE_HZ) + len(words)
    assert ended.start is not None
    stays = ended.start, ended.start + len(ended.heard)
    assert stays[0] <= at
    assert stays[1] >= behind
    assert stays[0] == pytest.approx(max(0, at - MARGIN), abs=0.06 * RATE_HZ)
    assert stays[1] == pytest.approx(behind + MARGIN, abs=0.04 * RATE_HZ)
    assert stays == (max(0, speech(line)[0] - MARGIN), speech(line)[1] + MARGIN)
    assert (ended.heard == line[slice(*stays)]).all()
    assert ended.trimmed == (stays[0], len(line) - stays[1])


def test_of_a_silent_recording_nothing_is_left() -> None:
    ended = record(mu_law_silence(9), RecordingOptions(trim=Trim.SILENCE, max_length_s=8))
    assert ended.ended == (EndReason.MAX_LENGTH, 8 * RATE_HZ)
    assert (len(ended.file), ended.kept, ended.trimmed) == (0, 0, (8 * RATE_HZ, 0))


def test_of_a_long_silence_only_the_last_blocks_are_held() -> None:
    endpointer, blocks = Endpointer(TRIM, rate_hz=RATE_HZ, channels=1), []
    for _ in range(100):
        block = np.zeros((FRAME, 1), np.int16)
        blocks.append(weakref.ref(block))
        assert endpointer.take(block) == []
    del block
    held = [block() is not None for block in blocks]
    assert held == [False] * 90 + [True] * 10


def test_a_trimmed_start_counts_for_the_longest_recording() -> None:
    ended = record(say(3, caller()[22_720:]), RecordingOptions(trim=Trim.SILENCE, max_length_s=4))
    assert ended.ended == (EndReason.MAX_LENGTH, 4 * RATE_HZ)
    assert ended.trimmed == (3 * RATE_HZ - MARGIN, 0)
    assert len(ended.heard) == RATE_HZ + MARGIN


def test_a_stop_within_a_word_keeps_all_that_was_said() -> None:
    ended = record(say(1, hello()[:2_900]), TRIM)
    assert len(ended.heard) == MARGIN + 2_900


def test_what_was_held_at_the_stop_is_in_the_file() -> None:
    line = say(1, hello()[:450])
    ended = record(line, RecordingOptions(end_silence_timeout_s=5), [1] * 300)
    assert (ended.file == line).all()
    assert ended.ended is None


SOUNDS = st.lists(
    st.one_of(
        st.floats(0, 2.5),
        st.sampled_from((hello(), hello()[400:1600], hello()[:300], caller()[66_400:70_000], white_noise(0.7, -42))),
    ),
    max_size=6,
)
OPTIONS = st.builds(
    RecordingOptions,
    max_length_s=st.integers(0, 5),
    initial_timeout_s=st.sampled_from((0.0, 0.5, 1.1234, 3)),
    end_silence_timeout_s=st.sampled_from((0.0, 0.1, 0.77777, 2)),
    sensitivity=st.sampled_from((20.0, 44.0, 100.0)),
    trim=st.sampled_from(Trim),
)
LENGTHS = st.lists(st.one_of(st.integers(0, 400), st.integers(0, 9_000)), max_size=40)


@examples(100)
@given(sounds=SOUNDS, options=OPTIONS, lengths=LENGTHS)
def test_any_cutting_ends_and_trims_alike(
    sounds: list[Samples | float], options: RecordingOptions, lengths: list[int]
) -> None:
    line = say(0, *sounds)
    whole, cut = record(line, options, []), record(line, options, lengths)
    assert cut.file.tolist() == whole.file.tolist()
    assert (cut.start, cut.ended, cut.kept, cut.has_speech, cut.trimmed) == (
        whole.start,
        whole.ended,
        whole.kept,
        whole.has_speech,
        whole.trimmed,
    )
    length = whole.ended[1] if whole.ended else len(line)
    if options.max_length_s:
        assert length <= options.max_length_s * RATE_HZ
    assert len(whole.heard) + sum(whole.trimmed) == length
    if whole.start is not None:
        assert (line[whole.start :][: len(whole.file)] == whole.file).all()
