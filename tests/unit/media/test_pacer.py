"""When audio for peers is due, and what it is."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.support.listening import find_beeps
from tests.support.waiting import WAIT_S
from wavstream.dialects.base import Dialect, UpgradeRequest
from wavstream.dialects.events import Outgoing, StreamStarted
from wavstream.dialects.registry import DIALECTS
from wavstream.media.audio_sender import AudioSender
from wavstream.media.pacer import Pacer, PacingSchedule
from wavstream.model.audio import Codec, MediaFormat, Track, TrackClock
from wavstream.rendering.mixer.mix import BEEP_HZ, beep

L16 = MediaFormat()
SILENCE = b"\x82\x7e\x01\x40" + bytes(320)
"""A server's binary message of 20 ms of L16 at 8 kHz."""
TURN_MS = 5
MINUTE, HOUR = 60_000 // TURN_MS, 3_600_000 // TURN_MS
"""In turns."""


class Peer:
    """A dialect whose messages are the payload, a stream of it, and what arrives at its peer."""

    name = "fake"
    server_pings = True

    def __init__(
        self,
        *,
        playout_ms: int = 20,
        frame_ms: int = 0,
        whole_sounds: bool = False,
        enough: int = 1,
        is_text: bool = False,
        clear: bytes = b"",
    ) -> None:
        self.playout_ms = playout_ms
        self.ptime_ms = None
        self.frame_ms = frame_ms
        """How long the frames are that the stream sends."""
        self.whole_sounds = whole_sounds
        self.writes: list[bytes] = []
        self.enough = enough
        self.done = asyncio.Event()
        self._is_text = is_text
        self._clear = clear

    def message(self, payload: bytes) -> Outgoing:
        return Outgoing(self._is_text, payload)

    def clear(self) -> Outgoing | None:
        return Outgoing(True, self._clear) if self._clear else None

    def write(self, frames: bytes) -> None:
        self.writes.append(frames)
        if len(self.writes) >= self.enough:
            self.done.set()

    def sender(
        self, audio: MediaFormat = L16, *, playback: MediaFormat | None = None, dialect: Dialect | None = None
    ) -> AudioSender:
        started = StreamStarted(
            session_id="s",
            leg="a",
            format=audio,
            clock=TrackClock.CONTIGUOUS,
            tracks=(Track.INBOUND,),
            playback=playback,
        )
        return AudioSender(
            dialect or self,  # type: ignore[arg-type]
            started,
            self.write,
            lambda: self.frame_ms * audio.rate_hz // 1000,
        )

    def silent(self) -> AudioSender:
        """Return a sender of silence."""
        sender = self.sender()
        sender.keep_alive(True)
        return sender

    @property
    def messages_ms(self) -> list[list[int]]:
        """How long each message of each write is, of L16 at 8 kHz."""
        return [[len(message) // 16 for message in messages(write)] for write in self.writes]


class Playback:
    """A peer that begins to play when it is first sent something, in the first turn."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.turns = PacingSchedule()
        self.turns.join(peer.silent(), 0)
        self.ahead_ms: set[int] = set()
        """What it had yet to play, right after turns."""
        self._sent_ms = self._writes = 0

    def run(self, until: int, *, step: int = 1) -> None:
        """Serve each so many turns, up to this one."""
        for turn in range(self.turns.served + step, until + 1, step):
            self.turns.serve(turn)
            new = self.peer.writes[self._writes :]
            self._writes += len(new)
            self._sent_ms += sum(len(message) // 16 for write in new for message in messages(write))
            self.ahead_ms.add(self._sent_ms - (turn - 1) * TURN_MS)


def messages(write: bytes) -> list[bytes]:
    """Return the payloads of a server's frames, each of 126 to 65,535 bytes."""
    payloads, at = [], 0
    while at < len(write):
        assert write[at + 1] == 126
        end = at + 4 + int.from_bytes(write[at + 2 : at + 4])
        payloads.append(write[at + 4 : end])
        at = end
    return payloads


@pytest.mark.parametrize(
    ("ptime_ms", "playout_ms", "write"),
    [
        (10, 20, [10] * 2),
        (10, 200, [10] * 20),
        (20, 20, [20]),
        (30, 20, [30]),
        (30, 100, [30] * 3),
        (30, 200, [30] * 6),
        (60, 100, [60]),
        (60, 200, [60] * 3),
    ],
)
def test_silence_has_the_ptime_of_the_stream_and_as_many_messages_in_a_write_as_the_peer_takes(
    ptime_ms: int, playout_ms: int, write: list[int]
) -> None:
    playback = Playback(Peer(playout_ms=playout_ms, frame_ms=ptime_ms))
    playback.run(MINUTE)
    assert playback.ahead_ms == set(range(TURN_MS, sum(write) + 1, TURN_MS))
    assert all(each == write for each in playback.peer.messages_ms)


def test_silence_in_messages_of_30_ms_is_where_it_should_be_after_an_hour_of_late_turns() -> None:
    playback = Playback(Peer(playout_ms=200, frame_ms=30))
    playback.run(HOUR, step=7)
    assert -30 <= min(playback.ahead_ms) <= max(playback.ahead_ms) <= 180
    assert len(playback.peer.writes) == 3_600_000 / 180


@pytest.mark.parametrize("frame_ms", [0, 5, 12, 21, 105, 1000])
def test_a_stream_without_frames_or_with_odd_ones_gets_messages_of_20_ms(frame_ms: int) -> None:
    peer = Peer(playout_ms=100, frame_ms=frame_ms)
    peer.silent().send(1)
    assert peer.messages_ms == [[20] * 5]


def test_twilio_gets_messages_of_20_ms_whatever_it_sends() -> None:
    peer = Peer(frame_ms=30)
    twilio = DIALECTS["twilio"](UpgradeRequest(session_id="s", leg="a", query={}, headers={}))
    sender = peer.sender(MediaFormat(codec=Codec.PCMU), dialect=twilio)
    sender.keep_alive(True)
    sender.send(1)
    silence = b'"payload":"' + b"/" * 212 + b'/w=="'
    assert [silence in message for message in messages(peer.writes[0])] == [True] * 10


@pytest.mark.parametrize("ptime_ms", [10, 30, 75])
def test_a_ptime_that_becomes_known_is_that_of_the_next_write_with_no_burst_and_no_gap(ptime_ms: int) -> None:
    playback = Playback(Peer(playout_ms=200))
    playback.run(50)
    playback.peer.frame_ms = ptime_ms
    playback.run(MINUTE)
    assert (min(playback.ahead_ms), max(playback.ahead_ms)) == (TURN_MS, 200)
    assert playback.peer.messages_ms[:3] == [[20] * 10, [20] * 10, [ptime_ms] * (200 // ptime_ms)]


def test_a_ptime_that_is_known_stays_until_silence_begins_anew() -> None:
    peer = Peer(frame_ms=30)
    turns, sender = PacingSchedule(), peer.silent()
    turns.join(sender, 0)
    peer.frame_ms = 40
    turns.serve(1)
    sender.keep_alive(True)
    turns.serve(7)
    sender.keep_alive(False)
    sender.keep_alive(True)
    turns.serve(13)
    assert peer.messages_ms == [[30], [30], [40]]


def test_a_sound_has_the_ptime_of_the_stream() -> None:
    peer = Peer(playout_ms=100)
    turns, sender = PacingSchedule(), peer.sender()
    peer.frame_ms = 30
    sender.play(np.ones(1600, np.int16))
    turns.join(sender, 0)
    for turn in range(1, 50):
        turns.serve(turn)
    assert peer.messages_ms == [[30] * 3, [30] * 3, [30]]
    assert turns.is_empty


def test_a_ptime_that_becomes_known_within_a_sound_is_that_of_the_silence_behind_it() -> None:
    peer = Peer(playout_ms=100)
    turns, sender = PacingSchedule(), peer.sender()
    sender.play(np.ones(1600, np.int16))
    sender.keep_alive(True)
    turns.join(sender, 0)
    peer.frame_ms = 30
    for turn in (1, 21, 41):
        turns.serve(turn)
    assert peer.messages_ms == [[20] * 5, [20] * 5, [30] * 3]


def test_a_thousand_streams_write_in_turns_also_when_their_ptime_becomes_known() -> None:
    turns, peer = PacingSchedule(), Peer(playout_ms=200)
    for _ in range(1_000):
        turns.join(peer.silent(), 0)

    def writes_of(turn: int) -> int:
        peer.writes.clear()
        turns.serve(turn)
        return len(peer.writes)

    assert {writes_of(turn) for turn in range(1, 81)} == {25}
    peer.frame_ms = 30
    assert max(writes_of(turn) for turn in range(81, 400)) == 50


@pytest.mark.parametrize(
    ("ptime_ms", "playout_ms", "most"), [(20, 20, 5), (30, 20, 3), (100, 20, 1), (20, 100, 5), (20, 200, 10)]
)
def test_after_a_stall_of_the_loop_a_stream_gets_100_ms_or_one_write_at_most(
    ptime_ms: int, playout_ms: int, most: int
) -> None:
    peer = Peer(playout_ms=playout_ms, frame_ms=ptime_ms)
    turns = PacingSchedule()
    turns.join(peer.silent(), 0)
    turns.serve(HOUR)
    assert peer.messages_ms == [[ptime_ms] * most]


def test_a_stream_that_begins_while_the_loop_is_late_is_owed_nothing_of_before() -> None:
    turns, peer = PacingSchedule(), Peer()
    turns.join(peer.silent(), MINUTE)
    turns.serve(MINUTE)
    assert peer.writes == []
    turns.serve(MINUTE + 1)
    assert peer.messages_ms == [[20]]


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_no_dialect_plays_silence_for_more_than_100_ms_after_it_was_stopped(dialect: type[Dialect]) -> None:
    request = UpgradeRequest(session_id="s", leg="a", query={"rate": "8000"}, headers={})
    assert dialect.playout_ms <= 100 or dialect(request).clear() is not None


async def test_streams_get_their_own_silence_until_they_are_stopped_and_then_nothing_runs() -> None:
    pacer = Pacer()
    first, second = Peer(enough=3), Peer(enough=2, playout_ms=100)
    senders = [first.sender(), second.sender(MediaFormat(codec=Codec.PCMU))]
    for sender in (*senders, *senders):
        sender.keep_alive(True)
        pacer.start(sender)
    async with asyncio.timeout(WAIT_S):
        await first.done.wait()
        await second.done.wait()
    assert {write[: len(SILENCE)] for write in first.writes} == {SILENCE}
    assert {write[4:164] for write in second.writes} == {b"\xff" * 160}
    assert min(len(write) for write in second.writes) == 5 * 164
    pacer.stop(senders[0])
    pacer.stop(senders[0])
    first.writes.clear()
    second.done.clear()
    async with asyncio.timeout(WAIT_S):
        await second.done.wait()
    assert first.writes == []
    pacer.stop(senders[1])
    assert pacer._timer is None


async def test_a_sound_goes_out_once_and_then_nothing_runs() -> None:
    pacer, peer = Pacer(), Peer(enough=2)
    sender = peer.sender()
    sender.play(np.ones(320, np.int16))
    pacer.start(sender)
    async with asyncio.timeout(WAIT_S):
        await peer.done.wait()
    assert pacer._timer is None
    assert b"".join(peer.writes).count(b"\1\0" * 160) == 2


def test_a_sound_goes_out_in_place_of_silence_on_all_channels_and_its_last_message_is_whole() -> None:
    peer = Peer()
    sender = peer.sender(MediaFormat(channels=2))
    sender.keep_alive(True)
    sender.play(np.full(170, 7, np.int16))
    sender.send(3)
    (write,) = peer.writes
    messages = [write[at + 4 : at + 644] for at in range(0, len(write), 644)]
    heard = np.frombuffer(b"".join(messages), "<i2").reshape(-1, 2)
    assert heard[:, 0].tolist() == heard[:, 1].tolist() == [7] * 170 + [0] * (480 - 170)


def test_a_peer_that_plays_each_message_by_itself_gets_a_sound_in_one_and_never_silence() -> None:
    peer = Peer(whole_sounds=True)
    sender = peer.sender()
    sender.keep_alive(True)
    assert sender.is_idle
    sender.play(np.full(1610, 7, np.int16))
    sender.send(1)
    sender.send(1)
    assert [write[4:] for write in peer.writes] == [b"\7\0" * 1610]


def test_a_sound_has_the_rate_that_the_peer_takes() -> None:
    peer = Peer()
    sender = peer.sender(playback=MediaFormat(rate_hz=16_000))
    sender.play(beep(8_000))
    sender.send(12)
    (write,) = peer.writes
    heard = np.frombuffer(b"".join(write[at + 4 : at + 644] for at in range(0, len(write), 644)), "<i2")
    assert len(heard) == 3_200
    assert find_beeps(heard, 16_000, BEEP_HZ) == [0.0]


def test_a_newer_sound_takes_the_place_of_what_still_waits() -> None:
    peer = Peer()
    sender = peer.sender()
    sender.play(np.full(480, 1, np.int16))
    sender.send(1)
    sender.play(np.full(160, 2, np.int16))
    sender.send(5)
    assert [set(write[4:]) - {0} for write in peer.writes] == [{1}, {2}]
    assert sender.is_idle


def test_silence_that_the_peer_has_not_played_is_taken_back_when_it_is_not_wanted_any_more() -> None:
    peer = Peer(is_text=True, clear=b"clear")
    sender = peer.sender()
    sender.keep_alive(False)
    assert peer.writes == []
    sender.keep_alive(True)
    sender.keep_alive(False)
    sender.keep_alive(False)
    assert peer.writes == [b"\x81\x05clear"]
    assert sender.is_idle


def test_a_sound_that_still_waits_is_not_taken_back_with_the_silence() -> None:
    peer = Peer(clear=b"clear")
    sender = peer.sender()
    sender.keep_alive(True)
    sender.play(np.full(160, 7, np.int16))
    sender.keep_alive(False)
    sender.send(1)
    assert [write[4:] for write in peer.writes] == [b"\7\0" * 160]


def test_a_text_dialect_gets_text_messages() -> None:
    peer = Peer(is_text=True)
    sender = peer.sender(MediaFormat(codec=Codec.PCMU))
    sender.keep_alive(True)
    sender.send(1)
    assert peer.writes == [b"\x81\x7e\x00\xa0" + b"\xff" * 160]
