"""Signatures of Twilio, and the URLs that they may be made for."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from wavstream.access.twilio_signature import SignedUpgrade, TwilioAccount
from wavstream.errors import Unauthenticated

TARGET = "/media/twilio/call-77/a"
ACCOUNT = TwilioAccount(auth_token="12345", app_id="sales", public_url="https://rec.example.com/voice")


def signature(url: str, token: str = "12345") -> str:
    return base64.b64encode(hmac.new(token.encode(), url.encode(), hashlib.sha1).digest()).decode()


def test_a_signature_that_twilio_publishes_as_an_example_is_right() -> None:
    # It is of a POST, whose sorted form fields are signed as if they followed the URL.
    fields = "CallSidCA1234567890ABCDECaller+14158675309Digits1234From+14158675309To+18005551212"
    account = TwilioAccount(auth_token="12345", app_id="sales", public_url="https://mycompany.com")
    signed = SignedUpgrade("RSOYDt4T1cUTdK1PDd93/VVr8B8=", f"/myapp.php?foo=1&bar=2{fields}", ())
    assert account.app_of(signed) == "sales"


@pytest.mark.parametrize(
    "url",
    [
        "wss://rec.example.com/voice/media/twilio/call-77/a",
        "https://rec.example.com/voice/media/twilio/call-77/a",
        "wss://rec.example.com:443/voice/media/twilio/call-77/a",
        "wss://rec.example.com/voice/media/twilio/call-77/a/",
        "wss://front.example.com/media/twilio/call-77/a",
        "wss://10.0.0.7:8080/media/twilio/call-77/a",
        "wss://10.0.0.7/media/twilio/call-77/a",
        "ws://10.0.0.7:80/media/twilio/call-77/a",
    ],
)
def test_whatever_url_led_here_was_signed(url: str) -> None:
    signed = SignedUpgrade(signature(url), TARGET, ("10.0.0.7:8080", "front.example.com"))
    assert ACCOUNT.app_of(signed) == "sales"


def test_a_slash_at_the_end_that_a_proxy_added_is_taken_away() -> None:
    url = "wss://rec.example.com/voice/media/twilio"
    assert ACCOUNT.app_of(SignedUpgrade(signature(url), "/media/twilio/", ())) == "sales"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "x",
        "\N{SNOWMAN}",
        "\udc80",
        signature("wss://rec.example.com/voice/media/twilio/call-77/a", token="54321"),
        signature("wss://rec.example.com/voice/media/twilio/call-78/a"),
        signature("wss://rec.example.com/voice/media/twilio/call-77"),
        signature("wss://elsewhere.example.com/media/twilio/call-77/a"),
    ],
)
def test_any_other_signature_is_refused(given: str) -> None:
    with pytest.raises(Unauthenticated, match=r"twilio\.auth_token"):
        ACCOUNT.app_of(SignedUpgrade(given, TARGET, ("10.0.0.7:8080",)))


def test_neither_the_token_nor_a_signature_is_shown() -> None:
    assert "12345" not in repr(ACCOUNT)
    assert "secret" not in repr(SignedUpgrade("secret", TARGET, ()))
