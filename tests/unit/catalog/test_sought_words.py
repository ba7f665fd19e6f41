"""The words of a text as they are kept and looked for, in scripts with spaces and without."""

from __future__ import annotations

from wavstream.catalog.sought_words import KEPT_WORDS, LONGEST_WORD, kept_words, sought_words, words_of


def test_words_are_letters_and_digits_in_small_letters() -> None:
    assert words_of("Don't call +49-30_12, Straße!") == {"don", "t", "call", "49", "30", "12", "strasse"}
    assert words_of("!? \ufe0f \u0301") == set()


def test_of_scripts_without_spaces_letters_and_pairs_are_kept_and_pairs_are_looked_for() -> None:
    assert words_of("打电话\uff0c请") == {"打", "电", "话", "请", "打电", "电话"}
    assert sought_words("电话号 请") == [{"电话", "话号"}, {"请"}]
    assert sought_words("iPhone手机") == [{"iphone"}, {"手机"}]


def test_of_a_text_with_too_many_words_those_are_kept_before_pairs_and_none_is_too_long() -> None:
    many = "".join(chr(0x4E00 + at) for at in range(15_000))
    kept = kept_words(f"zebra {many} {'x' * (LONGEST_WORD + 1)}")
    assert len(kept) == KEPT_WORDS
    assert {"zebra", *many} <= set(kept)
    assert max(map(len, kept)) <= LONGEST_WORD
    assert kept == sorted(kept)
