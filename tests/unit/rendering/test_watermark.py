"""How far the file may be written."""

from __future__ import annotations

import pytest

from wavstream.rendering.timeline.clock import watermark

S = 1_000_000


@pytest.mark.parametrize(
    ("covered_s", "now_s", "written_s", "expected_s"),
    [
        ([9.9, 9.7], 10, 9, 9.7),  # as far as every track is known
        ([9.9, 2.0], 10, 6.5, 7),  # but no longer behind than the hold
        ([9.9, 2.0], 10, 8, 8),  # and never back
        ([10.5], 10, 9, 10),  # not past the clock
        ([3600], 10, 9, 3598),  # unless a sender is far ahead of it
        ([11.9, 3600], 10, 9, 10),
    ],
)
def test_the_watermark_waits_for_the_slowest_within_bounds(
    covered_s: list[float], now_s: float, written_s: float, expected_s: float
) -> None:
    covered_us = [round(s * S) for s in covered_s]
    mark_us = watermark(
        covered_us, written_us=round(written_s * S), latest_us=round(now_s * S), given_up_us=round(now_s * S) - 3 * S
    )
    assert mark_us == round(expected_s * S)
