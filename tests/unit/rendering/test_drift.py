"""What looks like a clock is repaired, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from wavstream.rendering.timeline.drift import Drift, stretched

S = 1_000_000


def watch(drift: Drift, *, seconds: int, ppm: float, jump_us: int = 0, jump_at_s: int = 0) -> list[int]:
    """Tell a drift the delays of a sender that is ``ppm`` fast, twice a second; what delay was left each time."""
    left, slewed = [], 0
    for half in range(2 * seconds):
        now_us = half * S // 2
        delay_us = round(-ppm * now_us / 1e6) + slewed * -125
        delay_us += jump_us if now_us >= jump_at_s * S else 0
        drift.observe(now_us=now_us, delay_us=delay_us)
        slewed += drift.slew(4000)
        left.append(delay_us)
    return left


@pytest.mark.parametrize("ppm", [200, -200, 30, -500])
def test_a_clock_that_drifts_is_measured_and_kept_within_20_ms(ppm: int) -> None:
    drift = Drift(8000)
    assert max(map(abs, watch(drift, seconds=3600, ppm=ppm))) < 20_000
    assert drift.ppm == pytest.approx(ppm, abs=1)


def test_a_clock_is_unknown_before_20_s() -> None:
    drift = Drift(8000)
    watch(drift, seconds=25, ppm=200)
    assert drift.ppm == 0
    assert drift.slew(4000) == 0


@pytest.mark.parametrize(("ppm", "jump_us"), [(9e6, 0), (0, -5 * S), (0, 80_000), (0, -80_000)])
def test_a_fast_sender_a_backlog_and_a_new_route_are_no_clocks(ppm: float, jump_us: int) -> None:
    drift = Drift(8000)
    watch(drift, seconds=120, ppm=ppm, jump_us=jump_us, jump_at_s=45)
    assert drift.slew(1_000_000) == 0


def test_jitter_above_the_smallest_delay_is_no_drift() -> None:
    drift = Drift(8000)
    for half in range(600):
        drift.observe(now_us=half * S // 2, delay_us=(half * 7919) % 60_000 if half % 10 else 0)
        assert drift.slew(4000) == 0
    assert drift.ppm == 0


@pytest.mark.parametrize("change", [-4, 4])
def test_a_stretched_tone_keeps_its_shape(change: int) -> None:
    time = np.arange(4000)
    tone = np.rint(8000 * np.sin(2 * np.pi * time / 80)).astype(np.int16)
    out = stretched(np.stack((tone, -tone), axis=1), change)
    at = np.arange(4000 + change) * 4000 / (4000 + change)
    assert out.shape == (4000 + change, 2)
    assert np.abs(out[:, 0] - 8000 * np.sin(2 * np.pi * at / 80)).max() < 8000 * 0.05
    assert (out[:, 1] == -out[:, 0]).all()
