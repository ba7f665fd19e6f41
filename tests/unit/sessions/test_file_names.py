from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavstream.model.file_names import LONGEST_STEM_BYTES, file_stem


@pytest.mark.parametrize(
    ("session_id", "stem"),
    [
        ("call-77", "call-77"),
        ("звонок-77", "звонок-77"),
        ("通話 77", "通話-77"),
        ("कॉल-७७", "कॉल-७७"),  # vowel signs are no letters, and belong to the word
        ("+49 30 123;ext=4@sip.example", "+49-30-123;ext=4@sip.example"),
        ("v3:MdI91X4l/WFEs7Ig", "v3-MdI91X4l-WFEs7Ig"),
        ("a--b", "a--b"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden.", "hidden"),
        ("???", "call"),
        ("x" * 200, "x" * 200),
    ],
)
def test_a_file_is_named_after_the_whole_id_in_its_own_script(session_id: str, stem: str) -> None:
    assert file_stem(session_id) == stem


def test_ids_for_which_there_is_no_room_are_told_apart_and_none_is_cut() -> None:
    long = ["x" * 256, "x" * 255 + "y", "ж" * 101, "ж" * 102]
    stems = [file_stem(each) for each in long]
    assert len({*stems}) == 4
    assert all(stem.startswith("call-") and len(stem) == 21 for stem in stems)
    assert file_stem(long[0]) == stems[0]


@given(st.text(st.characters(codec=None, categories=None), min_size=1, max_size=256))
def test_whatever_the_id_is_every_file_system_takes_the_name(session_id: str) -> None:
    stem = file_stem(session_id)
    assert stem
    assert len(f"{stem}-1793527200-100000.wav".encode(errors="surrogatepass")) <= 255
    assert len(stem.encode(errors="surrogatepass")) <= LONGEST_STEM_BYTES
    assert stem.isprintable()
    assert not set(stem) & set('<>:"/\\|?*')
    assert stem.strip("-. ") == stem
