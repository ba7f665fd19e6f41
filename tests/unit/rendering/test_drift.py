"""What looks like a clock is repaired, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wavstream.rendering.timeline.drift import Drift
from wavstream.rendering.timeline.stretch import ONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Delays = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """What a sender has said by then, in seconds, to delays in ms."""

S = 1_000_000


def watch(drift: Drift, *, seconds: float, delay_ms: Delays, tick_s: float = 0.8) -> list[float]:
    """Tell a drift the delays of a frame each 20 ms, and bend what came; how far off the track was each time, in ms."""
    off, frames = [], round(tick_s * 50)
    for tick in range(round(seconds / tick_s)):
        at_s = np.arange(tick * frames, (tick + 1) * frames, dtype=np.float64) * 0.02
        delays_us = np.rint(delay_ms(at_s) * 1000).astype(np.int64)
        arrivals_us = np.rint(at_s * S).astype(np.int64) + delays_us
        on_time = delays_us - drift.bent_us - drift.behind_us(arrivals_us)
        if (on_time <= 20_000).any():
            drift.watch(arrivals_us, delays_us)
        drift.bend(frames * 160)
        off.append(float(delay_ms(at_s)[-1]) - drift.bent_us / 1000)
    return off


def clock(ppm: float) -> Delays:
    """Return the delays of a sender that is ``ppm`` fast."""
    return lambda at_s: (at_s / (1 + ppm / 1e6) - at_s) * 1000


@pytest.mark.parametrize("ppm", [200, -200, 30, -500, 1500, -1500, 2000, -2000])
def test_a_clock_that_drifts_is_measured_and_kept_within_20_ms(ppm: int) -> None:
    drift = Drift(8000)
    off = watch(drift, seconds=3600, delay_ms=clock(ppm))
    assert max(map(abs, off)) < 18
    assert max(map(abs, off[100:])) < 7, "it is found soon"
    assert drift.ppm == pytest.approx(ppm, abs=1)


@pytest.mark.parametrize("ppm", [300, -300, 1500, -1500])
def test_jitter_and_stalls_do_not_hide_a_clock(ppm: int) -> None:
    rng = np.random.default_rng(3)

    def delay_ms(at_s: NDArray[np.float64]) -> NDArray[np.float64]:
        stall = np.maximum(0, 2000 - 1000 * (at_s % 30))
        return clock(ppm)(at_s) + rng.uniform(0, 30, len(at_s)) + np.where(at_s >= 30, stall, 0)

    drift = Drift(8000)
    watch(drift, seconds=600, delay_ms=delay_ms)
    assert drift.bent_us / 1000 == pytest.approx(-ppm * 0.6, abs=4)
    assert drift.ppm == pytest.approx(ppm, abs=5)


def test_a_clock_is_unknown_before_20_s() -> None:
    drift = Drift(8000)
    watch(drift, seconds=21, delay_ms=clock(200))
    assert drift.ppm == 0
    assert drift.bend(4000) is None


@pytest.mark.parametrize(("ppm", "jump_ms"), [(9e6, 0), (9e3, 0), (0, -5000), (0, 80), (0, -80)])
def test_a_fast_sender_a_backlog_and_a_new_route_are_no_clocks(ppm: float, jump_ms: float) -> None:
    drift = Drift(8000)
    watch(drift, seconds=120, delay_ms=lambda at_s: clock(ppm)(at_s) + np.where(at_s >= 45, jump_ms, 0))
    assert drift.bend(1_000_000) is None
    assert drift.ppm == 0


def test_a_route_that_got_worse_for_good_hides_no_clock() -> None:
    drift = Drift(8000)
    watch(drift, seconds=600, delay_ms=lambda at_s: clock(300)(at_s) + np.where(at_s >= 45, 80, 0))
    assert drift.bent_us / 1000 == pytest.approx(-180, abs=4)
    assert drift.ppm == pytest.approx(300, abs=3)


@pytest.mark.parametrize("jitter_ms", [5.0, 30.0])
def test_jitter_above_the_smallest_delay_is_no_drift(jitter_ms: float) -> None:
    rng, drift = np.random.default_rng(5), Drift(8000)
    watch(drift, seconds=600, delay_ms=lambda at_s: rng.uniform(0, jitter_ms, len(at_s)))
    assert drift.bend(4000) is None
    assert drift.ppm == pytest.approx(0, abs=1)


def test_a_slow_link_that_catches_up_is_no_drift() -> None:
    drift = Drift(8000)
    watch(drift, seconds=120, delay_ms=lambda at_s: np.interp(at_s, [20, 44, 46], [0, 1200, 0]))
    assert drift.bend(4000) is None


@pytest.mark.parametrize("ppm", [0, 300, 1500])
def test_a_link_that_is_slow_at_first_hides_no_clock(ppm: int) -> None:
    drift = Drift(8000)
    watch(drift, seconds=300, delay_ms=lambda at_s: clock(ppm)(at_s) + np.interp(at_s, [0, 10, 12], [0, 100, 0]))
    assert drift.ppm == pytest.approx(ppm, abs=5)
    assert drift.bent_us / 1000 == pytest.approx(-ppm * 0.3, abs=4)


def test_the_speed_of_a_bend_stays_where_nothing_is_owed() -> None:
    rng, drift = np.random.default_rng(7), Drift(8000)
    watch(drift, seconds=200, delay_ms=lambda at_s: -1500 * at_s / 1000 + rng.uniform(0, 30, len(at_s)))
    bend = drift.bend(8000)
    changes = set()
    for second in range(200, 400):
        at_s = second + np.arange(50) * 0.02
        delays_us = np.rint((-1.5 * at_s + rng.uniform(0, 30, 50)) * 1000).astype(np.int64)
        drift.watch(np.rint(at_s * S).astype(np.int64) + delays_us, delays_us)
        bend = drift.bend(8000)
        assert bend is not None
        changes.add(bend.change)
    assert len(changes) <= 3


def test_what_waited_pays_no_more_than_is_owed() -> None:
    drift = Drift(8000)
    off = watch(drift, seconds=8.0, delay_ms=clock(-2000))
    assert off[-1] > 8
    # Half a minute that came at once.
    drift.bend(30 * 8000)
    assert drift.bent_us / 1000 == pytest.approx(2.0 * 38.0, abs=2.5)


def test_silence_takes_up_what_is_owed() -> None:
    drift = Drift(8000)
    watch(drift, seconds=60, delay_ms=clock(-1000))
    behind = drift.behind_us(np.array([80 * S]))
    assert behind[0] == pytest.approx(20_000, abs=2_500)
    drift.end_at_silence(int(behind[0]))
    assert drift.behind_us(np.array([80 * S]))[0] == 0
    # Nothing but what the clock drifts from here on is to be made up for.
    delays_us = np.arange(50) * 20 + 80_000 - int(behind[0])
    drift.watch(80 * S + np.arange(50) * 20_000, delays_us.astype(np.int64))
    bend = drift.bend(8000)
    assert bend is not None
    assert bend.change / ONE == pytest.approx(8, abs=0.4)


def test_a_frame_that_is_late_right_after_silence_is_no_news_of_a_clock_that_was_seen() -> None:
    drift = Drift(8000)
    # Too little to be bent, and straight: the line is known, and kept.
    watch(drift, seconds=20, delay_ms=clock(-150))
    assert drift.is_seen
    assert not drift.is_off
    drift.end_at_silence(0)
    drift.watch(np.array([40 * S + 90_000]), np.array([90_000]))
    assert not drift.is_off


@pytest.mark.parametrize("seconds", [1, 4, 12, 40])
@pytest.mark.parametrize("step_ms", [5, 7.5, 10, 14, 20])
@pytest.mark.parametrize("on_time_s", [(), (11, 12.4, 29), (31,)], ids=["never", "soon", "late"])
def test_a_socket_that_is_read_later_from_some_moment_on_is_no_clock(
    seconds: int, step_ms: float, on_time_s: tuple[float, ...]
) -> None:
    def delays(at_s: NDArray[np.float64]) -> NDArray[np.float64]:
        # Read by visits: later by as much as from a frame to the next visit, but for a read now and then on time.
        later = np.where(at_s < seconds, 0.0, step_ms)
        for moment in on_time_s:
            later[np.abs(at_s - moment) < 0.1] = 0.0
        return later + 0.4 * np.abs(np.sin(37 * at_s))

    drift = Drift(8000)
    watch(drift, seconds=90, delay_ms=delays, tick_s=0.9)
    assert not drift.is_off
    assert drift.bent_us == 0
