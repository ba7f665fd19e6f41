"""What a Twilio stream is sent, and how a wrong start is refused; what it sends is in ``tests/vectors/twilio``."""

from __future__ import annotations

import json
import re

import pytest

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import Outgoing
from wavstream.dialects.twilio import TwilioDialect
from wavstream.errors import BadParameter, BadPayload


def started() -> TwilioDialect:
    dialect = TwilioDialect(UpgradeRequest(session_id=None, leg=None, query={}, headers={}))
    start = {"streamSid": "MZ01", "callSid": "CA5", "customParameters": {"two_way": "1"}}
    assert len(dialect.text(json.dumps({"event": "start", "start": start}).encode())) == 1
    return dialect


def read(message: Outgoing | None) -> object:
    assert message is not None
    assert message.is_text
    return json.loads(message.data)


def test_audio_is_sent_as_text_that_names_the_stream() -> None:
    silence = "/" * 212 + "/w=="
    assert read(started().message(b"\xff" * 160)) == {
        "event": "media",
        "streamSid": "MZ01",
        "media": {"payload": silence},
    }


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (7, "start: an object is accepted"),
        ({"callSid": [7]}, "start.callSid: text of at most 256 characters is accepted"),
        ({"tracks": "both"}, "start.tracks: inbound and outbound are accepted"),
        ({"tracks": [7]}, "start.tracks: inbound and outbound are accepted"),
        ({"mediaFormat": "mulaw"}, "start.mediaFormat: an object is accepted"),
        ({"mediaFormat": {"channels": 2}}, "start.mediaFormat.channels: one channel a track is accepted"),
        (
            {"mediaFormat": {"sampleRate": 4000}},
            "start.mediaFormat.sampleRate: a whole number of 8000 to 48000 is accepted",
        ),
    ],
)
def test_a_start_that_is_refused_says_what_is_accepted(start: object, reason: str) -> None:
    dialect = TwilioDialect(UpgradeRequest(session_id="s", leg=None, query={}, headers={}))
    with pytest.raises(BadParameter, match=f"^{re.escape(reason)}$"):
        dialect.text(json.dumps({"event": "start", "start": start}).encode())


def test_a_first_message_that_is_no_object_says_so() -> None:
    dialect = TwilioDialect(UpgradeRequest(session_id="s", leg=None, query={}, headers={}))
    with pytest.raises(BadPayload, match=r"^text: a JSON object is expected$"):
        dialect.text(b"[]")


def test_clear_names_the_stream() -> None:
    assert read(started().clear()) == {"event": "clear", "streamSid": "MZ01"}
