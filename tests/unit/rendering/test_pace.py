"""The pace of a track is told from a wrong description alone, and not from what right senders and networks do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from wavstream.model.pace import PAUSE_US, Pace

Frames = list[tuple[float, float]]
"""(when a frame came, how much audio it is), in seconds."""


def talk(begin_s: float, length_s: float, *, pace: float = 1.0, frame_s: float = 0.02) -> Frames:
    """Frames of a sender that sends for so long."""
    count = round(length_s * pace / frame_s)
    return [(begin_s + number * frame_s / pace, frame_s) for number in range(count)]


def late(frames: Frames, seed: int, most_s: float) -> Frames:
    """Give each a delay of its own; they stay in order."""
    delays = np.random.default_rng(seed).uniform(0, most_s, len(frames))
    arrivals = np.maximum.accumulate([at + delay for (at, _), delay in zip(frames, delays.tolist(), strict=True)])
    return [(at, audio) for at, (_, audio) in zip(arrivals.tolist(), frames, strict=True)]


def moments(frames: Frames, every_s: float) -> Iterator[tuple[int, int, bool]]:
    """(arrival, audio so far, whether there was a pause since the last moment), in microseconds."""
    sent, before, next_s, paused = 0.0, frames[0][0], frames[0][0], False
    for at, audio in frames:
        sent += audio
        paused |= at - before > PAUSE_US / 1e6
        before = at
        if at >= next_s:
            yield round(at * 1e6), round(sent * 1e6), paused
            next_s, paused = at + every_s, False


def pace_of(frames: Frames, *, every_s: float = 0.9) -> float | None:
    pace = Pace()
    for arrival_us, media_us, has_pause in moments(frames, every_s):
        if has_pause:
            pace.pause()
        pace.look(arrival_us, media_us)
    return pace.value


@pytest.mark.parametrize("frame_s", [0.01, 0.02, 0.06, 0.2])
@pytest.mark.parametrize("pace", [1 / 6, 1 / 3, 0.5, 1.0, 1.5, 2.0, 3.0, 6.0])
def test_a_sender_that_sends_evenly_has_the_pace_at_which_it_does(pace: float, frame_s: float) -> None:
    if frame_s / pace > PAUSE_US / 1e6:
        assert pace_of(talk(0, 30, pace=pace, frame_s=frame_s)) is None  # pauses, for all that is known
    else:
        assert pace_of(talk(0, 30, pace=pace, frame_s=frame_s)) == pytest.approx(pace, abs=0.03 * max(1, pace))


def test_a_pace_is_known_after_ten_seconds_and_not_before() -> None:
    assert pace_of(talk(0, 9.5)) is None
    assert pace_of(talk(0, 13)) == 1.0


def test_a_clock_that_drifts_by_two_thousandths_has_the_pace_of_real_time() -> None:
    assert pace_of(talk(0, 120, pace=1.002)) == 1.0
    assert pace_of(talk(0, 120, pace=0.998)) == 1.0


@pytest.mark.parametrize("pace", [0.5, 1.0, 2.0])
def test_jitter_of_a_fifth_of_a_second_does_not_hide_a_pace(pace: float) -> None:
    assert pace_of(late(talk(0, 40, pace=pace), 1, 0.2)) == pytest.approx(pace, rel=0.02)


def speech(seed: int, length_s: float) -> Iterator[tuple[float, float]]:
    """(begin, length) of spurts with pauses between."""
    random, at = np.random.default_rng(seed), 0.0
    while at < length_s:
        spurt, pause = float(random.uniform(0.3, 6)), float(random.uniform(0.1, 4))
        yield at, spurt
        at += spurt + pause


@pytest.mark.parametrize("seed", range(20))
def test_silence_left_out_is_no_slow_pace(seed: int) -> None:
    frames = [frame for begin, length in speech(seed, 120) for frame in talk(begin, length)]

    assert pace_of(frames) in (None, pytest.approx(1, abs=0.02))


@pytest.mark.parametrize("seed", range(20))
def test_words_with_pauses_between_are_no_slow_pace(seed: int) -> None:
    random, frames, at = np.random.default_rng(seed), [], 0.0
    while at < 120:
        word, pause = float(random.uniform(0.2, 0.8)), float(random.uniform(0.15, 0.8))
        frames += talk(at, word)
        at += word + pause

    value = pace_of(frames)

    assert value is None or not any(abs(value / ratio - 1) < 0.04 for ratio in (1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3))


@pytest.mark.parametrize(("on_s", "off_s"), [(0.3, 0.3), (0.5, 0.5), (1.0, 1.0), (0.5, 1.0), (3.0, 3.0)])
def test_speech_and_silence_in_turn_are_no_slow_pace(on_s: float, off_s: float) -> None:
    frames = [frame for turn in range(60) for frame in talk(turn * (on_s + off_s), on_s)]

    assert pace_of(frames) in (None, 1.0)


@pytest.mark.parametrize("every_s", [0.16, 0.2, 0.4])
def test_comfort_noise_does_not_outweigh_speech(every_s: float) -> None:
    frames: Frames = []
    for turn in range(10):
        frames += talk(turn * 12, 6)
        frames += [(turn * 12 + 6 + number * every_s, 0.02) for number in range(int(6 / every_s))]

    assert pace_of(frames) == pytest.approx(1, abs=0.02)


def test_stalls_that_are_made_up_for_leave_the_pace_alone() -> None:
    frames = [(at if at % 15 < 13 else at - at % 15 + 15, audio) for at, audio in talk(0, 60)]  # 2 s of 15 come late

    assert pace_of(frames) == 1.0


def test_a_backlog_at_the_beginning_or_behind_a_stall_is_no_fast_pace() -> None:
    at_once = [(5.0, 0.02)] * 250 + talk(5, 20)
    slowly = talk(0, 15) + talk(35, 20, pace=2.0)

    assert pace_of(at_once) == 1.0
    assert pace_of(slowly) is None
    assert pace_of([*slowly, *talk(55, 20)]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("pace", [1.5, 2.0, 3.0, 50.0])
@pytest.mark.parametrize("prompt_s", [3.0, 8.0, 20.0])
def test_prompts_that_are_sent_ahead_and_waited_for_are_no_fast_pace(prompt_s: float, pace: float) -> None:
    frames = [frame for turn in range(6) for frame in talk(turn * prompt_s, prompt_s / pace, pace=pace)]

    assert pace_of(frames) in (None, 1.0)


def test_a_wrong_description_is_seen_though_the_sender_leaves_out_silence() -> None:
    frames = [frame for turn in range(10) for frame in talk(turn * 8, 6, pace=2.0)]

    assert pace_of(frames) == 2.0


def test_a_wrong_description_is_seen_though_the_call_was_on_hold_for_long() -> None:
    assert pace_of(talk(0, 60, pace=2.0) + talk(360, 5, pace=2.0)) == 2.0


def test_a_link_that_was_too_slow_for_a_while_does_not_last() -> None:
    assert pace_of(talk(0, 12, pace=0.95) + talk(12, 40)) == pytest.approx(1, abs=0.02)


def test_a_thousand_paces_in_turn_take_no_memory_and_are_none() -> None:
    random, measured = np.random.default_rng(3), Pace()
    arrival_us = media_us = 0
    for _ in range(1_000):
        pace = float(random.uniform(0.2, 5))
        for _ in range(3):
            arrival_us, media_us = arrival_us + 2_000_000, media_us + round(2_000_000 * pace)
            measured.look(arrival_us, media_us)

    assert measured.value is None
    assert len(measured._kinds) <= 8
