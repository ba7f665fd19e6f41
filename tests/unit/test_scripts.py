"""Letters of scripts that have no spaces, as units between which a text may be cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavstream.model.scripts import has_no_space_between, is_unspaced, units


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("你好\uff0c世界。", "你|好\uff0c|世|界。"),
        ("我用iPhone打(电话)", "我|用|iPhone|打|(电|话)"),
        ("「きょうはラーメン」", "「きょ|う|は|ラー|メ|ン」"),
        ("สวัสดีเราไปกินข้าวน้ำ", "ส|วั|ส|ดี|เรา|ไป|กิ|น|ข้า|ว|น้ำ"),
        ("ភាសាខ្មែរ", "ភា|សា|ខ្មែ|រ"),
        ("2024年", "2024|年"),
        ("안녕하세요", "안녕하세요"),
        ("U.S.-based", "U.S.-based"),
        ("x" * 25, "x" * 10 + "|" + "x" * 10 + "|" + "x" * 5),
    ],
)
def test_a_text_without_spaces_is_cut_between_letters_that_have_none(text: str, cut: str) -> None:
    assert "|".join(units(text, 10)) == cut


@given(st.text(st.sampled_from("好界。\uff0c「」(きょー ラวดีเน้ำx1-.\u200b\u0301"), max_size=60))
def test_no_letter_is_lost(text: str) -> None:
    for word in text.split():
        cut = list(units(word, 7))
        assert "".join(cut) == word
        assert all(0 < len(each) <= 7 for each in cut)


@pytest.mark.parametrize(
    ("before", "after", "is_none"),
    [
        ("你", "好", True),
        ("好\uff0c", "世", True),
        ("วั", "ส", True),
        ("good", "好", False),
        ("안녕", "여러", False),
        ("", "好", False),
    ],
)
def test_between_two_words_of_such_a_script_is_no_space(before: str, after: str, is_none: bool) -> None:
    assert has_no_space_between(before, after) is is_none


def test_korean_has_spaces() -> None:
    assert not is_unspaced("안녕하세요")
    assert is_unspaced("ok ครับ")
