"""What media servers of raw samples are sent, and what is kept of theirs; what they send is in ``tests/vectors``."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import numpy as np
import pytest

from wavstream.dialects.audiofork2 import AudioFork2Dialect
from wavstream.dialects.base import Dialect, UpgradeRequest
from wavstream.dialects.early import HELD_BYTES
from wavstream.dialects.events import Event, Frame, StreamStarted
from wavstream.dialects.freeswitch import AudioForkDialect
from wavstream.dialects.jambonz import JambonzDialect
from wavstream.dialects.livekit import LiveKitDialect
from wavstream.dialects.vonage import VonageDialect
from wavstream.errors import BadParameter, MediaError

CONNECTED = b'{"event":"websocket:connected","content-type":"audio/l16;rate=16000"}'


def opened(kind: type[Dialect], **query: str) -> tuple[Dialect, Sequence[Event]]:
    dialect = kind(UpgradeRequest(session_id="s", leg="a", query=query, headers={}))
    return dialect, dialect.opened()


@pytest.mark.parametrize("kind", [AudioForkDialect, JambonzDialect])
def test_a_fork_that_does_not_stream_back_is_sent_whole_sounds(kind: type[Dialect]) -> None:
    fork, _ = opened(kind, rate="16000", two_way="1", return_as="sounds", return_rate="8k")
    fork.binary(bytes(640))
    assert fork.whole_sounds
    message = fork.message(b"abcd")
    assert message.is_text
    data = {"audioContentType": "raw", "sampleRate": 8000, "audioContent": base64.b64encode(b"abcd").decode()}
    assert json.loads(message.data) == {"type": "playAudio", "data": data}


@pytest.mark.parametrize("kind", [AudioForkDialect, JambonzDialect])
def test_a_fork_that_streams_back_is_sent_samples(kind: type[Dialect]) -> None:
    fork, _ = opened(kind, rate="16000", two_way="1")
    fork.binary(bytes(640))
    assert not fork.whole_sounds
    assert fork.message(b"abcd") == (False, b"abcd")


def test_a_way_of_sending_back_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadParameter, match="stream or sounds"):
        opened(AudioForkDialect, return_as="files")


def test_vonage_is_sent_samples_and_the_command_that_clears_its_buffer() -> None:
    vonage, _ = opened(VonageDialect)
    vonage.text(CONNECTED)
    assert vonage.message(b"abcd") == (False, b"abcd")
    assert vonage.clear() == (True, b'{"action":"clear"}')
    assert vonage.ptime_ms == 20


def test_the_rewritten_fork_is_never_told_to_clear_since_it_would_stay_mute() -> None:
    fork, _ = opened(AudioFork2Dialect, two_way="1")
    fork.text(b'{"type":"hello","callSid":"c","rate":8000,"channels":1,"encoding":"L16"}')
    assert fork.message(b"abcd") == (False, b"abcd")
    assert fork.clear() is None


@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_of_the_two_channels_of_a_livekit_track_the_mean_is_kept(order: str) -> None:
    track, events = opened(LiveKitDialect, byteorder="little" if order == "<i2" else "big")
    both = np.array([[32767, 32767], [-32768, -32768], [32767, -32768], [100, 300]], order)
    payload = both.tobytes()

    frames = [*track.binary(payload[:7]), *track.binary(payload[7:])]

    assert isinstance(events[0], StreamStarted)
    assert events[0].format.channels == 1
    kept = b"".join(frame.payload for frame in frames if isinstance(frame, Frame))
    assert np.frombuffer(kept, order).tolist() == [32767, -32768, -1, 200]


def test_livekit_is_sent_no_ping_and_no_audio() -> None:
    _, (started,) = opened(LiveKitDialect, two_way="1")
    assert not LiveKitDialect.server_pings
    assert isinstance(started, StreamStarted)
    assert not started.accepts_audio


@pytest.mark.parametrize("kind", [AudioFork2Dialect, VonageDialect, JambonzDialect])
def test_audio_without_a_text_is_held_up_to_the_bound_and_then_is_what_the_url_says(kind: type[Dialect]) -> None:
    query = {"rate": "16000"} if kind is not JambonzDialect else {}
    held, _ = opened(kind, **query)
    sent = 0
    events: list[Event] = []
    while not events:
        events += held.binary(bytes(16_000))
        sent += 16_000
    assert HELD_BYTES <= sent < HELD_BYTES + 16_000
    assert isinstance(events[0], StreamStarted)
    assert sum(len(event.payload) for event in events if isinstance(event, Frame)) == sent


@pytest.mark.parametrize("kind", [AudioFork2Dialect, VonageDialect])
def test_audio_without_a_text_and_without_a_rate_is_refused_with_what_is_missing(kind: type[Dialect]) -> None:
    held, _ = opened(kind)
    for _ in range(HELD_BYTES // 16_000):
        assert not held.binary(bytes(16_000))
    with pytest.raises(MediaError, match="rate"):
        held.binary(bytes(16_000))


def test_a_mark_or_a_sound_that_jambonz_has_played_is_nothing() -> None:
    verb, _ = opened(JambonzDialect, rate="8000")
    verb.binary(bytes(320))
    assert verb.text(b'{"type":"playDone","data":{"id":"1"}}') == []
    assert verb.text(b'{"type":"mark","data":{"name":"m","event":"cleared"}}') == []
