"""A sound that is bent keeps its shape, through the borders of stretches too."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tests.support.folding import noise
from tests.support.tones import AMPLITUDE, levels_db, purity_db, tone
from wavstream.rendering.timeline.stretch import ONE, Bend, Stretcher


def bent(samples: np.ndarray, plan: list[tuple[int, float]], *, fraction: int = 0) -> np.ndarray:
    """Bend stretches of so many samples by so many ppm each; (n, channels) in and out."""
    stretcher, at, out = Stretcher(samples.shape[1], fraction=fraction), 0, []
    for length, ppm in plan:
        out.append(stretcher.feed(samples[at : at + length], round(length * ppm * ONE / 1e6)))
        at += length
    assert at == len(samples)
    return np.concatenate([*out, stretcher.finish()])


@pytest.mark.parametrize(
    ("hz", "rate_hz", "ppm"),
    [(3000, 8000, 1500), (3000, 8000, 200), (3000, 8000, -1500), (440, 16000, 1500), (3000, 8000, -4000)],
)
def test_a_tone_keeps_its_level_and_its_purity(hz: int, rate_hz: int, ppm: int) -> None:
    sound = tone(hz, 10.0, rate_hz=rate_hz)
    length = rate_hz * 4 // 5
    out = bent(sound[:, None], [(min(length, len(sound) - at), ppm) for at in range(0, len(sound), length)])[:, 0]
    assert len(out) == pytest.approx(len(sound) * (1 + ppm / 1e6), abs=1)
    assert np.abs(levels_db(out, rate_hz=rate_hz)).max() < 0.1
    assert purity_db(out, hz, rate_hz=rate_hz) > 75


def test_both_channels_of_a_track_are_bent_alike() -> None:
    sound = tone(1000, 1.0)
    out = bent(np.stack((sound, -sound), axis=1), [(4000, 1500), (4000, -700)])
    assert out.shape[1] == 2
    assert (out[:, 1] == -out[:, 0]).all()


def test_a_bend_that_starts_and_ends_makes_no_click_and_no_jump_of_the_phase() -> None:
    plan = [(4000, 0.0), (8000, 1500.0), (8000, 0.0), (8000, -1500.0), (4000, 0.0)]
    sound = tone(1000, 4.0)
    out = bent(sound[:, None], plan)[:, 0]
    # Where each sample that comes out was before.
    ends = np.cumsum([0, *(length for length, _ in plan)])
    bent_ends = np.cumsum([0, *(length * (1 + ppm / 1e6) for length, ppm in plan)])
    was_at = np.interp(np.arange(len(out)), bent_ends, ends)
    expected = AMPLITUDE * np.sin(2 * np.pi * 1000 * was_at / 8000)
    # The last samples ring, because silence follows.
    assert np.abs(out - expected)[:-16].max() < 4
    assert (out[:4000] == sound[:4000]).all(), "what is not bent yet is as it was, to the bit"


def test_how_a_bend_is_cut_changes_nothing_that_can_be_heard() -> None:
    sound = noise(1.0)[:, None]
    whole = bent(sound, [(8000, 999.9)])
    # The first 16 samples are not bent, and what they would have been the others are.
    ppm = 999.9 * 8000 / 7984
    pieces = bent(sound, [(16, 0.0), *[(163, ppm)] * 48, (160, ppm)])
    assert len(whole) == len(pieces) == 8008
    assert np.abs(whole.astype(int) - pieces).max() <= 1


def test_what_is_not_bent_comes_out_as_it_was() -> None:
    sound = np.stack((noise(1.0), noise(1.0, seed=2)), axis=1)
    assert (bent(sound, [(100, 0.0), (7, 0.0), (7893, 0.0)]) == sound).all()


def test_a_bend_ends_on_a_whole_sample_and_what_follows_is_not_touched() -> None:
    stretcher, sound = Stretcher(1), noise(1.0)[:, None]
    stretcher.feed(sound[:4000], ONE // 2)
    assert not stretcher.is_done(ONE // 2)
    stretcher.feed(sound[4000:5000], 0)
    assert not stretcher.is_done(0), "it lies between samples"
    stretcher.feed(sound[5000:6000], ONE // 2)
    stretcher.feed(sound[6000:6010], 0)
    assert not stretcher.is_done(0), "what is held back lies between samples still"
    ready = stretcher.feed(sound[6010:], 0)
    assert stretcher.is_done(0)
    out = np.concatenate((ready, stretcher.finish()))
    assert (out[-1990:] == sound[-1990:]).all()


def test_a_break_loses_nothing_and_the_next_stretch_begins_where_it_would() -> None:
    stretcher, sound = Stretcher(1), noise(0.5)[:, None]
    ready = stretcher.feed(sound, 3 * ONE + ONE // 4)
    assert stretcher.waiting == 16
    assert len(ready) + len(stretcher.finish()) == 4004
    assert stretcher.end == 4003 * ONE + ONE // 4
    late = tone(1000, 1.0)
    out = bent(late[:, None], [(8000, 0.0)], fraction=ONE // 4)[:, 0]
    expected = AMPLITUDE * np.sin(2 * np.pi * 1000 * (np.arange(8000) + 0.75) / 8000)
    assert np.abs(out - expected)[16:-16].max() < 4


def test_a_stretch_shorter_than_the_filter_is_bent_too() -> None:
    out = bent(noise(0.005)[:, None], [(10, 0.0), (10, 50_000.0), (20, 50_000.0)])
    assert len(out) == 42


def test_loud_samples_are_cut_and_do_not_wrap() -> None:
    square = np.where(np.arange(8000) // 8 % 2, 32_767, -32_768).astype(np.int16)[:, None]
    out = bent(square, [(8000, 1000.0)])[:, 0]
    was = np.where((np.arange(8008) * 8000 / 8008).astype(int) // 8 % 2, 1, -1)
    inner = (np.arange(8008) * 8000 / 8008) % 8
    is_inside = (inner > 2) & (inner < 6)
    assert (np.sign(out[is_inside].astype(int)) == was[is_inside]).all()


def test_a_copy_goes_on_alike() -> None:
    stretcher, sound = Stretcher(1), noise(1.0)[:, None]
    stretcher.feed(sound[:4000], ONE // 3)
    twin = copy.deepcopy(stretcher)
    assert (stretcher.feed(sound[4000:], ONE // 5) == twin.feed(sound[4000:], ONE // 5)).all()
    assert (stretcher.finish() == twin.finish()).all()


def test_the_rest_of_a_bend_begins_where_its_first_part_has_ended() -> None:
    bend = Bend(3 * ONE // 4, 2 * ONE)
    whole, rest = bend.behind(400, 800)
    assert (whole, rest) == (1, Bend(3 * ONE // 4, ONE))
    whole, rest = Bend(0, -ONE).behind(400, 800)
    assert (whole, rest) == (-1, Bend(ONE // 2, -ONE // 2))
