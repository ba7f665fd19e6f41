"""Passes of the console: what they say, when they end, and from which pages they count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from wavstream.access.console_pass import LIFE, ConsolePass, ConsolePasses, is_from_our_page

NOW = datetime(2026, 11, 1, 10, tzinfo=UTC)
PASSES = ConsolePasses(b"m" * 32)


def cookie(text: str, name: str = PASSES.cookie) -> str:
    return f"theme=dark; {name}={text}; other=1"


def test_a_pass_says_whose_key_it_stands_for_until_it_ends() -> None:
    text, expires_at = PASSES.make(app_id="shop\x1f2", key_id="k1", now=NOW)
    assert expires_at == NOW + LIFE
    assert PASSES.read(cookie(text), now=NOW) == ConsolePass("shop\x1f2", "k1", expires_at)
    assert PASSES.read(cookie(text), now=expires_at - timedelta(seconds=1)) is not None
    assert PASSES.read(cookie(text), now=expires_at) is None


def test_what_is_not_ours_is_no_pass() -> None:
    text, _ = PASSES.make(app_id="shop", key_id="k1", now=NOW)
    other, _ = ConsolePasses(b"n" * 32).make(app_id="shop", key_id="k1", now=NOW)
    for wrong in ("", "x", text[:-1], "A" + text[1:], other, text * 20, "\u00e9", '"', "=;=", text + "\\"):
        found = PASSES.read(cookie(wrong), now=NOW)
        assert found is None or wrong == text[:-1], wrong
    assert PASSES.read(cookie(text, "wavstream_0"), now=NOW) is None
    assert PASSES.read(None, now=NOW) is None


def test_two_servers_of_one_machine_have_cookies_of_two_names() -> None:
    assert ConsolePasses(b"n" * 32).cookie != PASSES.cookie
    assert ConsolePasses(b"m" * 32).cookie == PASSES.cookie


@pytest.mark.parametrize(
    ("site", "origins", "counts"),
    [
        (None, [], True),
        ("same-origin", [], True),
        ("none", [], True),
        ("same-origin", ["https://rec.example.com"], True),
        (None, ["https://rec.example.com:443"], True),
        ("same-site", [], False),
        ("cross-site", [], False),
        (None, ["https://evil.example.com"], False),
        (None, ["https://rec.example.com.evil.org"], False),
        (None, ["null"], False),
        ("same-origin", ["https://rec.example.com", "https://evil.example.com"], False),
    ],
)
def test_a_cookie_counts_only_in_requests_of_our_page(site: str | None, origins: list[str], counts: bool) -> None:
    assert is_from_our_page(site=site, origins=origins, hosts=["rec.example.com"]) is counts
