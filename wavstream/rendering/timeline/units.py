"""Microseconds to samples and back, in whole numbers."""

from __future__ import annotations

_S = 1_000_000


def samples_at(time_us: int, rate_hz: int) -> int:
    """The sample nearest to a time, both counted from one moment."""
    return (time_us * rate_hz + _S // 2) // _S


def us_of(samples: int, rate_hz: int) -> int:
    """How long so many samples take, rounded down."""
    return samples * _S // rate_hz
