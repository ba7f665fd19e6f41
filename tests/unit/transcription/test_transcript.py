"""The transcript of a file: channels and legs, times in the file and in the call, texts, and what may be a card."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.recordings import a_recording
from wavstream.model.audio import Channel, Track
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.model.recording import Integrity, LegReceipt, Pause, Receipt, Recording, Status, Trimmed
from wavstream.transcription.engines.base import joined, spread
from wavstream.transcription.redaction import passes_luhn, redaction_spans
from wavstream.transcription.spans import JOIN_FRAMES, LONGEST_FRAMES, MARGIN_FRAMES, speech_spans
from wavstream.transcription.texts import CUE_CHARACTERS, as_srt, as_text, as_vtt, cues
from wavstream.transcription.transcript import (
    CallTime,
    HeardSpan,
    HeardWord,
    Transcript,
    all_words,
    decode,
    encode,
    make_transcript,
)


def leg(name: str, channel: Channel | None) -> LegReceipt:
    return LegReceipt(name, Track.INBOUND, channel, "pcm", "l16", 8_000, 0, 60_000)


def finished(*, channels: int = 2, integrity: Integrity | None = None) -> Recording:
    legs = (leg("a", Channel.LEFT), leg("b", Channel.RIGHT), leg("c", Channel.RIGHT))
    receipt = Receipt(8_000, channels, 480_000, "9f", 1, legs if channels == 2 else legs[:2], integrity or Integrity())
    return replace(a_recording("r1", status=Status.AVAILABLE), receipt=receipt)


def heard(*said: tuple[int, int, str]) -> list[HeardSpan]:
    """Return stretches of (channel, start in ms, words), each word of which takes 300 ms."""
    return [
        HeardSpan(
            channel,
            start,
            start + 300 * len(text.split()),
            tuple(HeardWord(word, 300 * at, 300 * at + 280) for at, word in enumerate(text.split())),
        )
        for channel, start, text in said
    ]


def transcript(*said: tuple[int, int, str], recording: Recording | None = None) -> Transcript:
    return make_transcript(
        recording or finished(),
        heard(*said),
        transcript_id="t1",
        language="en-US",
        engine="test",
        timing="word",
        work_ms=12,
    )


def test_segments_are_in_the_order_of_the_call_with_the_legs_of_their_channels() -> None:
    made = transcript((1, 2_000, "good morning"), (0, 0, "hello there"))

    assert [(each.channel, each.text) for each in made.segments] == [(0, "hello there"), (1, "good morning")]
    assert [(each.side, each.name) for each in made.speakers] == [("left", "a"), ("right", "b and c")]
    assert (made.word_count, made.speech_ms) == (4, 1_200)
    assert decode(encode(made)) == made


def test_a_mono_file_has_one_speaker_with_all_its_legs() -> None:
    made = transcript((0, 0, "hello"), recording=finished(channels=1))
    assert [(each.side, each.legs) for each in made.speakers] == [("mono", ("a", "b"))]


def test_times_of_the_call_have_what_was_trimmed_and_what_pauses_left_out() -> None:
    pauses = (
        Pause(10_000, 5_000, PauseBehavior.SKIP),
        Pause(20_000, 1_000, PauseBehavior.SILENCE),
        Pause(30_000, 2_000, None),  # as the options say: skipped
    )
    time = CallTime(finished(integrity=Integrity(pauses=pauses, trimmed_ms=Trimmed(start=700))))

    assert [time.of(each) for each in (0, 9_299, 9_300, 14_000, 24_299, 24_300)] == [
        700, 9_999, 15_000, 19_700, 29_999, 32_000,
    ]  # fmt: skip


def test_words_that_an_engine_puts_outside_of_their_stretch_stay_within_it_and_in_order() -> None:
    words = (HeardWord("late", 5_000, 9_000), HeardWord("early", -50, -20), HeardWord("back", 10, 5))
    made = make_transcript(
        finished(), [HeardSpan(0, 100, 900, words)],
        transcript_id="t", language="en", engine="e", timing="word", work_ms=0,
    )  # fmt: skip

    places = [(word.start_ms, word.end_ms) for word in all_words(made)]
    assert places == sorted(places)
    assert all(100 <= start <= end <= 900 for start, end in places)


def test_texts_name_the_legs_and_have_their_times() -> None:
    made = transcript((0, 61_000, "hello"), (1, 3_723_000, "good morning"))

    assert as_text(made) == "[00:01:01] a: hello\n[01:02:03] b and c: good morning\n"
    assert as_srt(made).startswith("1\n00:01:01,000 --> 00:01:01,280\na: hello\n\n2\n01:02:03,000 --> ")
    assert as_vtt(made).startswith("WEBVTT\n\n00:01:01.000 --> 00:01:01.280\n<v a>hello\n\n01:02:03.000")


def test_what_is_said_is_no_markup_and_ends_no_subtitle() -> None:
    made = transcript((0, 0, "<b>&amp --> x ---> -----> y"))

    assert "<v a>&lt;b&gt;&amp;amp --&gt; x" in as_vtt(made)
    assert as_srt(made).count("-->") == 1


def test_subtitles_are_in_the_order_in_which_they_begin_where_one_speaks_into_the_others_words() -> None:
    made = transcript((0, 0, "word " * 60), (1, 3_000, "yes"))

    starts = [cue.start_ms for cue in cues(made)]

    assert starts == sorted(starts)
    assert 3_000 in starts[1:-1]


def test_long_segments_become_subtitles_that_can_be_read() -> None:
    made = transcript((0, 0, " ".join(f"word{number}" for number in range(100))))

    shown = list(cues(made))

    assert " ".join(cue.text for cue in shown) == made.segments[0].text
    assert all(len(cue.text) <= CUE_CHARACTERS and cue.end_ms - cue.start_ms <= 6_000 for cue in shown)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 2 * LONGEST_FRAMES)), max_size=12))
def test_spans_have_all_speech_once_and_none_is_too_long(runs: list[tuple[bool, int]]) -> None:
    is_speech = np.array([each for each, length in runs for _ in range(length)], np.bool_)

    spans = speech_spans(is_speech)

    covered = np.zeros(len(is_speech), np.int8)
    for span in spans:
        assert 0 <= span.start < span.end <= len(is_speech)
        assert span.end - span.start <= LONGEST_FRAMES
        covered[span.start : span.end] += 1
    assert covered.max(initial=0) <= 1
    assert (covered[is_speech] == 1).all()
    silent = len(is_speech) - is_speech.sum()
    assert (covered[~is_speech] == 1).sum() <= min(silent, len(runs) * (JOIN_FRAMES + 2 * MARGIN_FRAMES))


def test_silence_has_no_spans_and_a_pause_between_words_is_within_one() -> None:
    assert speech_spans(np.zeros(500, np.bool_)) == []
    said = np.zeros(500, np.bool_)
    said[100:150] = said[150 + JOIN_FRAMES - 1 : 250] = True
    assert speech_spans(said) == [(100 - MARGIN_FRAMES, 250 + MARGIN_FRAMES)]


def test_a_long_stretch_is_cut_in_its_longest_pause() -> None:
    said = np.ones(2_000, np.bool_)
    said[1_000:1_008] = said[1_200:1_220] = False
    assert [span.end for span in speech_spans(said)] == [1_210, 2_000]


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("my number is 4111 1111 1111 1111 thanks", ["1111"]),
        ("4111-1111-1111-1111", ["1111"]),
        ("four one one one one one one one and one one one one one one one one", ["1111"]),
        ("triple five five double five five double five double five triple four four", []),
        ("3782 822463 10005", ["0005"]),
        ("4111 1111 1111 1112", []),
        ("call me at 0049 30 123456", []),
        ("4111 1111 please 1111 1111", []),
    ],
)
def test_card_numbers_are_found_by_their_check_digit(text: str, last: list[str]) -> None:
    spans = redaction_spans(transcript((0, 1_000, text)))
    assert [span.last_digits for span in spans] == last


def test_a_card_number_in_several_utterances_is_one_span_of_one_channel() -> None:
    said = transcript((0, 0, "it is 4111 1111"), (1, 1_500, "yes"), (0, 2_000, "1111 1111 ok"), (1, 9_000, "4111"))

    (span,) = redaction_spans(said)

    assert (span.channel, span.start_ms, span.end_ms) == (0, 600, 2_580)


@given(st.text(alphabet="0123456789", min_size=12, max_size=18))
def test_one_check_digit_of_ten_is_right(digits: str) -> None:
    assert sum(passes_luhn(digits + last) for last in "0123456789") == 1


def test_options_of_a_recording_ask_for_no_transcript_by_themselves() -> None:
    assert not RecordingOptions().transcription


def said_in_one_go(text: str, length_ms: int) -> Transcript:
    return make_transcript(
        finished(),
        [HeardSpan(0, 0, length_ms, tuple(spread(text, 0, length_ms)))],
        transcript_id="t1",
        language="zh",
        engine="test",
        timing="segment",
        work_ms=12,
    )


CHINESE = "我们明天下午三点在北京开会\uff0c请你带上所有的文件\uff0c不要迟到。" * 8
JAPANESE = "会議は明日の午後三時からです。資料を全部持ってきてください、ちょっと遅れても大丈夫です。" * 6
THAI = "สวัสดีครับวันนี้เราจะไปกินข้าวที่ร้านอาหารใกล้บ้าน" * 8


@pytest.mark.parametrize("text", [CHINESE, JAPANESE, THAI, "x" * 500, f"我用iPhone打电话 OK {CHINESE}"])
@pytest.mark.parametrize("length_ms", [20_000, 29_000, 400_000])
def test_a_text_without_spaces_is_kept_as_it_is_and_is_wrapped_into_subtitles(text: str, length_ms: int) -> None:
    made = said_in_one_go(text, length_ms)
    shown = list(cues(made))

    assert made.text == text
    assert as_text(made) == f"[00:00:00] a: {text}\n"
    assert "".join(cue.text for cue in shown) == text.replace(" ", "") or " " in text
    for cue in shown:
        wide = sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in cue.text)
        assert wide <= CUE_CHARACTERS or "x" * CUE_CHARACTERS in cue.text or "ส" in cue.text
        assert cue.text[0] not in "\uff0c。、ー้ัิีุ่ะาょっ"
    assert len(shown) >= len(text) / CUE_CHARACTERS / 2


def test_subtitles_without_spaces_end_behind_what_ends_a_part_of_a_sentence() -> None:
    shown = [cue.text for cue in cues(said_in_one_go(CHINESE, 20_000))]
    assert shown[0] == "我们明天下午三点在北京开会\uff0c请你带上所有的文件\uff0c不要迟到。"


def test_words_that_an_engine_gives_for_letters_or_parts_of_words_are_one_text() -> None:
    words = [HeardWord(each, 100 * at, 100 * at + 90) for at, each in enumerate(("你", "好", "trans", "cribe", "it"))]
    said = tuple(joined(words, "你好 Transcribe it"))
    made = make_transcript(
        finished(), [HeardSpan(0, 0, 900, said)],
        transcript_id="t", language="zh", engine="e", timing="word", work_ms=0,
    )  # fmt: skip
    assert made.segments[0].text == "你好 transcribe it"
    assert [cue.text for cue in cues(made)] == ["你好 transcribe it"]
    assert [word.word for word in all_words(made)] == ["你", "好", "trans", "cribe", "it"]
