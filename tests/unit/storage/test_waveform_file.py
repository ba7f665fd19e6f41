"""Which points of a waveform are given for what is asked, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wavstream.errors import InvalidFields
from wavstream.rendering.waveform import Ending, Peaks, WaveformForm
from wavstream.storage.waveform_file import MAX_POINTS, Window, read_waveform, whole_file

FORM = WaveformForm.of(8_000, 1)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(), (0, 500, 1)),
        (Window(from_s=2.0, to_s=4.0), (100, 200, 1)),
        (Window(from_s=9.99), (499, 500, 1)),
        (Window(from_s=99.0), (500, 500, 1)),
        (Window(from_s=1e300, to_s=1e300), (500, 500, 1)),
        (Window(from_s=4.0, to_s=2.0), (200, 200, 1)),
        (Window(points_per_s=10), (0, 500, 5)),
        (Window(from_s=1.03, to_s=1.99, points_per_s=10), (50, 100, 5)),
        (Window(points_per_s=49.9), (0, 500, 2)),
        (Window(points_per_s=50), (0, 500, 1)),
        (Window(points_per_s=1e-9), (0, 500, 500)),
        (Window(samples_per_pixel=1), (0, 500, 1)),
        (Window(samples_per_pixel=512), (0, 500, 4)),
        (Window(points=100), (0, 500, 5)),
        (Window(points=99), (0, 500, 6)),
        (Window(points=1), (0, 500, 500)),
    ],
    ids=str,
)
def test_a_window_is_widened_to_whole_points_of_its_zoom(window: Window, expected: tuple[int, int, int]) -> None:
    assert window.of(FORM, 500) == expected


def test_an_hour_of_points_is_given_as_no_more_than_are_usual() -> None:
    first, end, factor = Window().of(FORM, 180_000)
    assert (end - first) / factor <= 20_000


def test_more_points_than_an_answer_may_have_are_refused() -> None:
    assert Window(points_per_s=50).of(FORM, MAX_POINTS) == (0, MAX_POINTS, 1)
    with pytest.raises(InvalidFields, match="200,000"):
        Window(points_per_s=50).of(FORM, MAX_POINTS + 1)


def test_a_file_that_is_not_whole_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rec.wav.waveform"
    assert read_waveform(lambda: path.open("rb"), Window()) is None
    whole = whole_file(Ending(FORM, 400, 2, b"\x01\x02\x03"), bytes(6))
    for content in (b"", whole[:20], whole[:-1], whole + b"\0", b"X" + whole[1:], bytes(len(whole))):
        path.write_bytes(content)
        assert read_waveform(lambda: path.open("rb"), Window()) is None, content
    path.write_bytes(whole)
    found = read_waveform(lambda: path.open("rb"), Window(from_s=0.02))
    assert found is not None
    assert (found.samples, found.start, found.points) == (400, 1, bytes(3) + b"\x01\x02\x03")


def test_a_coarser_point_has_the_extremes_and_the_mean_energy_of_its_own() -> None:
    points = np.array([[-3, 5, 10], [-7, 2, 20], [0, 1, 30]], np.int8).tobytes()
    coarse = Peaks.read(FORM, 4, points).coarser(2)
    assert (coarse.start, coarse.form.samples_per_point) == (2, 320)
    assert coarse.extremes[:, 0].tolist() == [[-7, 5], [0, 1]]
    assert coarse.root_mean_squares[:, 0].tolist() == [int(np.sqrt((100 + 400) / 2)), 30]


def test_the_binary_format_is_that_of_audiowaveform() -> None:
    points = np.array([[-3, 5, 10], [-7, 2, 20]], np.int8).tobytes()
    assert Peaks.read(FORM, 0, points).as_dat() == (
        (2).to_bytes(4, "little")
        + (1).to_bytes(4, "little")
        + (8_000).to_bytes(4, "little")
        + (160).to_bytes(4, "little")
        + (2).to_bytes(4, "little")
        + (1).to_bytes(4, "little")
        + bytes([253, 5, 249, 2])
    )
