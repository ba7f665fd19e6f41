from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavstream.api.conditions import ByteRange, Unsatisfiable, byte_range

HUGE = "9" * 5_000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=0-99", ByteRange(0, 100)),
        ("bytes=0-100", ByteRange(0, 100)),
        (f"bytes=0-{HUGE}", ByteRange(0, 100)),
        ("bytes=10-", ByteRange(10, 90)),
        ("bytes=99-", ByteRange(99, 1)),
        ("bytes=-1", ByteRange(99, 1)),
        ("bytes=-100", ByteRange(0, 100)),
        ("bytes=-101", ByteRange(0, 100)),
        (f"bytes=-{HUGE}", ByteRange(0, 100)),
        ("bytes=007-0010", ByteRange(7, 4)),
        ("BYTES=1-2", ByteRange(1, 2)),
        ("bytes= 1-2 ", ByteRange(1, 2)),
    ],
)
def test_one_range_is_cut_to_the_file(header: str, expected: ByteRange) -> None:
    assert byte_range(header, size_bytes=100) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=2-1",
        f"bytes={HUGE}-1",
        "bytes=1-2,4-5",
        "bytes=1-2, -5",
        "bytes=+1-2",
        "bytes=1--2",
        "bytes=\u0661-\u0662",
        "samples=0-1",
        "bytes 0-1",
        "bytes=0-1\n",
    ],
)
def test_a_header_that_is_not_one_range_of_bytes_means_the_whole_file(header: str | None) -> None:
    assert byte_range(header, size_bytes=100) is None


@pytest.mark.parametrize(
    "header", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={HUGE}-", f"bytes={HUGE}-{HUGE}9"]
)
def test_a_range_outside_the_file_cannot_be_satisfied(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        byte_range(header, size_bytes=100)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_an_empty_file_has_no_range(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        byte_range(header, size_bytes=0)


def test_a_content_range_names_the_first_and_the_last_byte() -> None:
    assert ByteRange(10, 5).content_range(100) == "bytes 10-14/100"


@given(st.text(alphabet="bytes=-,0123456789 ", max_size=20), st.integers(0, 200))
def test_whatever_is_asked_the_range_lies_in_the_file(text: str, size_bytes: int) -> None:
    try:
        part = byte_range("bytes=" + text, size_bytes=size_bytes)
    except Unsatisfiable:
        return
    if part:
        assert part.length_bytes > 0
        assert 0 <= part.start < part.start + part.length_bytes <= size_bytes
