"""Senders whose clock is not ours, from their frames to the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.folding import Folded, folded, noise
from tests.support.journal_script import Script
from tests.support.tones import levels_db, purity_db, tone
from wavstream.model.options import PauseBehavior, RecordingOptions
from wavstream.rendering.fold import Fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 8000
_FRAME = 160


def recorded(
    sound: NDArray[np.int16],
    ppm: float,
    *,
    jitter_s: float = 0.0,
    talk_s: float = 0.0,
    silence_s: float = 0.0,
    stalls: tuple[tuple[float, float], ...] = (),
    options: RecordingOptions | None = None,
) -> Folded:
    """Fold what a sender says whose clock is ``ppm`` fast, from the first moment of the recording on.

    It may leave out silence after each ``talk_s``; ``stalls``: (begin, length) of moments in which nothing arrives.
    """
    said_s = np.arange(len(sound) // _FRAME) * 0.02 / (1 + ppm / 1e6)
    arrivals_s = said_s + np.random.default_rng(1).uniform(0, jitter_s, len(said_s))
    for begin_s, length_s in stalls:
        is_held = (arrivals_s >= begin_s) & (arrivals_s < begin_s + length_s)
        arrivals_s = np.where(is_held, begin_s + length_s, arrivals_s)
    arrivals_s = np.maximum.accumulate(arrivals_s)
    script = Script().start(options)
    leg = script.open("a")
    for number, (at_s, arrival_s) in enumerate(zip(said_s.tolist(), arrivals_s.tolist(), strict=True)):
        if not silence_s or at_s % (talk_s + silence_s) < talk_s:
            leg.frame(sound[number * _FRAME : (number + 1) * _FRAME], at_us=round(arrival_s * 1e6))
    return folded(script.stop(float(arrivals_s[-1]) + 0.05))


def errors_ms(made: Folded, sound: NDArray[np.int16], ppm: float) -> NDArray[np.float64]:
    """Return by how much later each 0.1 s of noise is in the file than it was said; what is not there is left out."""
    errors, length, reach = [], 800, 480
    heard = made.left.astype(np.float64)
    for at in range(0, len(sound) - length, length):
        expected = round((at + length / 2) / (1 + ppm / 1e6) - length / 2)
        piece = sound[at : at + length] - 4500.0
        begin = max(0, expected - reach)
        place = heard[begin : expected + length + reach]
        if len(place) < length + reach:
            continue
        found = np.fft.irfft(np.fft.rfft(place, 4096) * np.conj(np.fft.rfft(piece, 4096)), 4096)
        found = found[: len(place) - length + 1]
        if found.max() > 0.25 * (piece @ piece):
            errors.append((begin + int(found.argmax()) - expected) * 1000 / RATE_HZ)
    return np.array(errors)


@pytest.mark.parametrize("ppm", [-1500, 1500, -2000, 200])
def test_a_tone_of_a_sender_whose_clock_is_off_is_as_loud_and_as_pure_as_it_was_sent(ppm: int) -> None:
    made = recorded(tone(3000, 120.0), ppm)
    heard = made.left[: round(120 * RATE_HZ / (1 + ppm / 1e6)) - 200]
    assert np.abs(levels_db(heard)).max() < 0.1
    assert purity_db(heard, 3000) > 70
    assert made.integrity.drift_ppm == {"a": pytest.approx(ppm, abs=2)}
    assert (made.integrity.late_ms, made.integrity.gaps) == (0, ())


@pytest.mark.parametrize("sample_rate", [16_000, None])
def test_a_bent_tone_passes_a_resampler_as_well(sample_rate: int | None) -> None:
    made = recorded(tone(440, 60.0), -1500, options=RecordingOptions(sample_rate=sample_rate))
    rate_hz = sample_rate or RATE_HZ
    heard = made.left[rate_hz // 10 : round(59.9 * rate_hz * 1.0015)]
    assert np.abs(levels_db(heard, rate_hz=rate_hz)).max() < 0.1
    assert purity_db(heard, 440, rate_hz=rate_hz) > 65


@pytest.mark.parametrize("jitter_s", [0.0, 0.03])
@pytest.mark.parametrize("ppm", [-1500, 1500, -2000, 2000, 300, -300])
def test_a_sender_whose_clock_is_off_is_where_it_was_said(ppm: int, jitter_s: float) -> None:
    sound = noise(120.0)
    made = recorded(sound, ppm, jitter_s=jitter_s)
    errors = errors_ms(made, sound, ppm)
    assert len(errors) > 1190
    assert np.abs(errors).max() < 16
    assert np.abs(errors[400:]).max() < 7
    length_s = 120 / (1 + ppm / 1e6)
    assert made.account.samples / RATE_HZ == pytest.approx(length_s, abs=jitter_s + 0.1)
    # Nothing lacks: what was said is in one piece, 120 s by the sender's clock.
    said = np.flatnonzero(made.left)
    assert (said[-1] + 1 - said[0]) / RATE_HZ == pytest.approx(length_s, abs=0.016)


@pytest.mark.parametrize("ppm", [-1500, 1500, 300])
def test_a_clock_that_is_off_is_neither_silence_nor_a_stall(ppm: int) -> None:
    sound = noise(120.0)
    made = recorded(sound, ppm, jitter_s=0.005, stalls=((5, 2.0), (25, 20.0), (60, 8.0)))
    errors = errors_ms(made, sound, ppm)
    assert len(errors) > 1190
    assert np.abs(errors).max() < 16
    assert (made.integrity.late_ms, made.integrity.gaps) == (0, ())


@pytest.mark.parametrize("ppm", [-1500, 1500, -300, 300])
def test_a_sender_that_leaves_out_silence_is_where_it_was_said_though_its_clock_is_off(ppm: int) -> None:
    sound = noise(120.0)
    made = recorded(sound, ppm, jitter_s=0.005, talk_s=12.0, silence_s=2.0)
    errors = errors_ms(made, sound, ppm)
    assert len(errors) > 900
    assert np.abs(errors).max() < 20
    assert made.integrity.late_ms == 0
    assert len(made.integrity.gaps) == 8


@pytest.mark.parametrize("jitter_s", [0.0, 0.03])
def test_a_sender_whose_clock_is_exact_is_not_touched(jitter_s: float) -> None:
    sound = noise(120.0)
    made = recorded(sound, 0, jitter_s=jitter_s, stalls=((50, 3.0),))
    begin = int(np.flatnonzero(made.left)[0])
    assert (made.left[begin : begin + len(sound)] == sound).all()


def drifting(ppm: float, length_s: float, *, close: bool = False) -> Script:
    """Return a script of one leg whose clock is ``ppm`` fast, that is paused and put back to work at 30 s."""
    script = Script().start(RecordingOptions(pause_behavior=PauseBehavior.SILENCE))
    leg = script.open("a").send(noise(length_s), at_s=0.0, speed=1 + ppm / 1e6)
    script.pause(30.0)
    script.resume(35.0)
    if close:
        leg.close(length_s + 0.2)
    return script.stop(length_s + 0.5)


@pytest.mark.parametrize("ppm", [-1500, 1500])
def test_how_the_journal_of_a_drifting_sender_was_cut_changes_nothing(ppm: int) -> None:
    script = drifting(ppm, 60.0)
    whole = folded(script)
    fold = Fold(script.recording_id)
    pieces = b"".join(fold.feed([item]) for item in script.items(batch_s=0.02))
    assert pieces == whole.samples.tobytes()
    assert fold.account() == whole.account


def test_whether_somebody_listens_changes_nothing_of_a_drifting_sender() -> None:
    script = Script().start()
    script.open("a").send(noise(60.0), at_s=0.0, speed=0.9985)
    # Where one leg is behind, a copy of the fold goes ahead for who listens.
    script.open("b").send(noise(10.0, seed=2), at_s=0.0).send(noise(20.0, seed=3), at_s=40.0)
    script.stop(60.5)
    alone = folded(script)
    fold = Fold(script.recording_id)
    fold.tap.switch(True)
    assert fold.feed(script.items()) == alone.samples.tobytes()


@pytest.mark.parametrize("close", [False, True])
def test_the_end_of_a_bent_track_is_in_the_file(close: bool) -> None:
    made = folded(drifting(1500, 60.0, close=close))
    said = np.flatnonzero(made.left)
    assert (said[-1] + 1) / RATE_HZ == pytest.approx(60 / 1.0015, abs=0.003)
    assert made.integrity.late_ms == 0


def test_a_pause_takes_up_what_the_clock_drifts_in_it() -> None:
    script = Script().start(RecordingOptions(pause_behavior=PauseBehavior.SILENCE))
    sound, speed = noise(180.0), 0.9985
    leg = script.open("a")
    for number in range(len(sound) // _FRAME):
        at_s = number * 0.02 / speed
        if 40 <= at_s < 140:
            leg.withhold(_FRAME, at_s=at_s)
        else:
            leg.frame(sound[number * _FRAME : (number + 1) * _FRAME], at_us=round(at_s * 1e6))
    script.pause(40.0)
    script.resume(140.0)
    made = folded(script.stop(180.5))
    errors = errors_ms(made, sound, -1500)
    assert len(errors) > 700
    assert np.abs(errors).max() < 16
    assert np.abs(errors[-350:]).max() < 5
