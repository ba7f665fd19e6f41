"""What a Twilio stream is sent; what it sends is in ``tests/vectors/twilio``."""

from __future__ import annotations

import json

from wavstream.dialects.base import Outgoing, UpgradeRequest
from wavstream.dialects.twilio import TwilioDialect


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
        "event": "media", "streamSid": "MZ01", "media": {"payload": silence}
    }  # fmt: skip


def test_clear_names_the_stream() -> None:
    assert read(started().clear()) == {"event": "clear", "streamSid": "MZ01"}
