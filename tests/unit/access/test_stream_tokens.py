"""Stream tokens, as pure values."""

from __future__ import annotations

import base64
import hmac
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from wavstream.access.keys import StreamToken, StreamTokens
from wavstream.access.secret_box import derive
from wavstream.errors import Unauthenticated

START = datetime(2026, 8, 21, 12, tzinfo=UTC)
END = START + timedelta(seconds=60)
TOKENS = StreamTokens(b"m" * 32)


@pytest.mark.parametrize("session_id", [None, "call-77", "büro/77 ☎"])
def test_a_token_says_what_was_put_into_it(session_id: str | None) -> None:
    for key_id in (None, "k1"):
        token = TOKENS.make(app_id="shop", session_id=session_id, expires_at=END, key_id=key_id)
        assert TOKENS.read(token, now=START) == StreamToken("shop", session_id, END, key_id)


def test_a_token_of_an_earlier_version_names_no_key() -> None:
    # As it was made then, under the same master key.
    content = msgspec.json.encode(["shop", "call-77", int(END.timestamp())])
    mac = hmac.digest(derive(b"m" * 32, "stream tokens"), content, "sha256")
    token = "wst_" + base64.urlsafe_b64encode(mac + content).decode().rstrip("=")
    assert TOKENS.read(token, now=START) == StreamToken("shop", "call-77", END, None)


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
