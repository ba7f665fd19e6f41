"""Stream tokens, as pure values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from wavstream.access.keys import StreamToken, StreamTokens
from wavstream.errors import Unauthenticated

START = datetime(2026, 8, 21, 12, tzinfo=UTC)
END = START + timedelta(seconds=60)
TOKENS = StreamTokens(b"m" * 32)


@pytest.mark.parametrize("session_id", [None, "call-77", "büro/77 ☎"])
def test_a_token_says_what_was_put_into_it(session_id: str | None) -> None:
    token = TOKENS.make(app_id="shop", session_id=session_id, expires_at=END)
    assert TOKENS.read(token, now=START) == StreamToken("shop", session_id, END)


def test_a_token_is_safe_in_a_query() -> None:
    token = TOKENS.make(app_id="shop", session_id="☎" * 256, expires_at=END)
    assert token.startswith("wst_")
    assert token.isascii()
    assert token.replace("_", "").replace("-", "").isalnum()


def test_a_token_ends_at_its_second() -> None:
    token = TOKENS.make(app_id="shop", session_id=None, expires_at=END)
    TOKENS.read(token, now=END - timedelta(microseconds=1))
    with pytest.raises(Unauthenticated, match="expired"):
        TOKENS.read(token, now=END)


def test_a_token_with_any_character_changed_is_not_valid() -> None:
    token = TOKENS.make(app_id="shop", session_id="call-77", expires_at=END)
    for at in range(len("wst_"), len(token) - 1):
        other = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(Unauthenticated, match="not valid"):
            TOKENS.read(other, now=START)


@pytest.mark.parametrize("token", ["", "wst_", "wst_AAAA", "wst_☎", "wst_\ud800", "wst_" + "A" * 43, "wsk_x", "wst_A"])
def test_what_is_no_token_is_not_valid(token: str) -> None:
    with pytest.raises(Unauthenticated, match="not valid"):
        TOKENS.read(token, now=START)


def test_a_token_of_another_server_is_not_valid() -> None:
    token = StreamTokens(b"n" * 32).make(app_id="shop", session_id=None, expires_at=END)
    with pytest.raises(Unauthenticated, match="not valid"):
        TOKENS.read(token, now=START)
