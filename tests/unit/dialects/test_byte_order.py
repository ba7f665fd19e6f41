"""Every dialect whose audio may be 16-bit samples takes their byte order, under one name."""

from __future__ import annotations

import json
import re

import pytest

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.events import StreamStarted
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import BadParameter
from wavstream.model.audio import Codec


def start(dialect: str, *, encoding: str = "audio/x-l16", **parameters: str) -> StreamStarted:
    """Return how a stream with these parameters starts: they are in its URL, or where Twilio has them."""
    is_twilio = dialect == "twilio"
    request = UpgradeRequest(session_id="s", leg="a", query={} if is_twilio else parameters, headers={})
    made = DIALECTS[dialect](request)
    if dialect in STARTS:
        fields: dict[str, object] = {"customParameters": parameters} if is_twilio else {}
        name, form = STARTS[dialect]
        fields |= {name: form | ({"encoding": encoding} if is_twilio else {})}
        events = made.text(json.dumps({"event": "start", "start": fields}).encode())
    elif dialect == "audiohook":
        offer = {"type": "audio", "format": "L16", "channels": ["external"], "rate": 8000}
        envelope = {"version": "2", "type": "open", "id": "e1", "seq": 1, "serverseq": 0}
        events = made.text(json.dumps({**envelope, "parameters": {"media": [offer]}}).encode())
    else:
        events = made.opened() or made.binary(bytes(640)) or made.waited() or made.ended()
    (started,) = [event for event in events if isinstance(event, StreamStarted)]
    return started


STARTS = {
    "twilio": ("mediaFormat", {"encoding": "audio/x-l16"}),
    "signalwire": ("mediaFormat", {"encoding": "audio/x-L16"}),
    "plivo": ("mediaFormat", {"encoding": "audio/x-l16"}),
    "exotel": ("media_format", {"encoding": "audio/x-raw"}),
    "telnyx": ("media_format", {"encoding": "L16"}),
}
"""Where a start says that samples have 16 bits; a dialect that is not here has binary messages."""
URL: dict[str, dict[str, str]] = {
    **{name: {"rate": "16000"} for name in ("pcm", "audio-fork", "audio-stream", "audiofork2", "jambonz", "vonage")},
    "livekit": {"rate": "16000"},
    "asterisk": {"format": "slin16"},
    **{dialect: {} for dialect in (*STARTS, "audiohook")},
}
WITHOUT = {"bandwidth"}
"""Dialects whose samples have one byte each."""


def test_every_dialect_has_the_option() -> None:
    assert URL.keys() | WITHOUT == DIALECTS.keys()


@pytest.mark.parametrize("dialect", sorted(URL.keys() - {"telnyx"}))
def test_samples_are_little_endian_unless_it_is_said_otherwise(dialect: str) -> None:
    assert start(dialect, **URL[dialect]).format.codec is Codec.L16
    assert start(dialect, **URL[dialect], byteorder="little").format.codec is Codec.L16
    assert start(dialect, **URL[dialect], byteorder="big").format.codec is Codec.L16BE


def test_telnyx_samples_are_heard_unless_it_is_said_how_they_are() -> None:
    assert start("telnyx").format.codec is Codec.L16  # as they come out
    assert start("telnyx", byteorder="auto").format.codec is Codec.L16
    assert start("telnyx", byteorder="little").format.codec is Codec.L16
    assert start("telnyx", byteorder="big").format.codec is Codec.L16BE


@pytest.mark.parametrize("dialect", sorted(URL.keys() - {"telnyx"}))
def test_a_byte_order_that_there_is_not_is_refused_with_those_that_there_are(dialect: str) -> None:
    with pytest.raises(BadParameter, match=re.escape("byteorder: 'middle' is not accepted; little or big is")):
        start(dialect, **URL[dialect], byteorder="middle")


def test_bytes_that_are_whole_samples_have_no_order() -> None:
    assert start("pcm", codec="pcmu", byteorder="big").format.codec is Codec.PCMU
    assert start("twilio", encoding="audio/x-mulaw", byteorder="big").format.codec is Codec.PCMU


def test_the_native_dialects_older_name_of_big_endian_samples_still_means_them() -> None:
    assert start("pcm", codec="l16be").format.codec is Codec.L16BE
    assert start("pcm", codec="l16be", byteorder="big").format.codec is Codec.L16BE
    with pytest.raises(BadParameter, match="byteorder: l16be is big-endian; codec=l16 is little-endian"):
        start("pcm", codec="l16be", byteorder="little")


@pytest.mark.parametrize("name", ["byte_order", "byteOrder", "BYTEORDER"])
def test_freeswitch_takes_it_in_any_spelling_and_from_metadata(name: str) -> None:
    assert start("audio-fork", rate="8000", **{name: "big"}).format.codec is Codec.L16BE
    fork = DIALECTS["audio-fork"](UpgradeRequest(session_id="s", leg="a", query={}, headers={}))
    (started,) = fork.text(json.dumps({name: "big", "rate": 8000}).encode())
    assert isinstance(started, StreamStarted)
    assert started.format.codec is Codec.L16BE


@pytest.mark.parametrize("dialect", ["audio-fork", "audio-stream"])
def test_a_module_is_sent_samples_in_the_order_in_which_it_sends_them(dialect: str) -> None:
    playback = start(dialect, rate="8000", two_way="1", byteorder="big").playback

    assert playback is not None
    assert playback.codec is Codec.L16BE
