"""When audio for peers is due, and what it is."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest

from tests.support.listening import find_beeps
from wavstream.dialects.base import Dialect, Outgoing, UpgradeRequest
from wavstream.dialects.registry import DIALECTS
from wavstream.media.playout import Playout, owed_messages
from wavstream.media.speaker import Speaker
from wavstream.model.audio import Codec, MediaFormat
from wavstream.rendering.mixer.beep import BEEP_HZ, beep

L16 = MediaFormat()
SILENCE = b"\x82\x7e\x01\x40" + bytes(320)
"""A server's binary message of 20 ms of L16 at 8 kHz."""


class Peer:
    """A dialect whose messages are the payload, and what arrives at its peer."""

    name = "fake"
    server_pings = True

    def __init__(
        self,
        *,
        playout_ms: int = 20,
        whole_sounds: bool = False,
        enough: int = 1,
        is_text: bool = False,
        clear: bytes = b"",
    ) -> None:
        self.playout_ms = playout_ms
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

    def speaker(self, audio: MediaFormat = L16, *, sound_hz: int | None = None) -> Speaker:
        return Speaker(self, audio, write=self.write, sound_hz=sound_hz)  # type: ignore[arg-type]


@pytest.mark.parametrize(("groups", "messages"), [(4, 1), (20, 5), (40, 10)])
def test_in_one_round_each_group_gets_what_its_peers_take_in_its_own_turn(groups: int, messages: int) -> None:
    turns = [owed_messages(turn, turn + 1, groups=groups) for turn in range(groups)]
    assert [sum(group) for group in zip(*turns, strict=True)] == [messages] * groups
    assert [sum(turn) for turn in turns] == [messages] * groups


@pytest.mark.parametrize("groups", [4, 20])
def test_turns_served_late_or_one_by_one_owe_the_same_in_six_minutes(groups: int) -> None:
    owed = [owed_messages(done, due, groups=groups) for done, due in pairwise(range(0, 72_001, 3))]
    assert [sum(group) for group in zip(*owed, strict=True)] == [18_000] * groups


def test_after_a_stall_of_the_loop_a_stream_gets_five_messages_or_one_write_at_most() -> None:
    assert owed_messages(100, 100 + 12, groups=4) == [3, 3, 3, 3]
    assert owed_messages(100, 100 + 4000, groups=4) == [5, 5, 5, 5]
    assert owed_messages(100, 100 + 4000, groups=20) == [5] * 20
    assert owed_messages(100, 100 + 4000, groups=40) == [10] * 40


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_no_dialect_plays_silence_for_more_than_100_ms_after_it_was_stopped(dialect: type[Dialect]) -> None:
    request = UpgradeRequest(session_id="s", leg="a", query={"rate": "8000"}, headers={})
    assert dialect.playout_ms <= 100 or dialect(request).clear() is not None


async def test_streams_get_their_own_silence_until_they_are_stopped_and_then_nothing_runs() -> None:
    playout = Playout()
    first, second = Peer(enough=3), Peer(enough=2, playout_ms=100)
    speakers = [first.speaker(), second.speaker(MediaFormat(codec=Codec.PCMU))]
    for speaker in (*speakers, *speakers):
        speaker.keep_alive(True)
        playout.start(speaker)
    async with asyncio.timeout(10):
        await first.done.wait()
        await second.done.wait()
    assert {write[: len(SILENCE)] for write in first.writes} == {SILENCE}
    assert {write[4:164] for write in second.writes} == {b"\xff" * 160}
    assert min(len(write) for write in second.writes) == 5 * 164
    playout.stop(speakers[0])
    playout.stop(speakers[0])
    first.writes.clear()
    second.done.clear()
    async with asyncio.timeout(10):
        await second.done.wait()
    assert first.writes == []
    playout.stop(speakers[1])
    assert playout._timer is None


async def test_a_sound_goes_out_once_and_then_nothing_runs() -> None:
    playout, peer = Playout(), Peer(enough=2)
    speaker = peer.speaker()
    speaker.play(np.ones(320, np.int16))
    playout.start(speaker)
    async with asyncio.timeout(10):
        await peer.done.wait()
        while playout._timer is not None:
            await asyncio.sleep(0)
    assert b"".join(peer.writes).count(b"\1\0" * 160) == 2


def test_a_sound_goes_out_in_place_of_silence_on_all_channels_and_its_last_message_is_whole() -> None:
    peer = Peer()
    speaker = peer.speaker(MediaFormat(channels=2))
    speaker.keep_alive(True)
    speaker.play(np.full(170, 7, np.int16))
    speaker.send(3)
    (write,) = peer.writes
    messages = [write[at + 4 : at + 644] for at in range(0, len(write), 644)]
    heard = np.frombuffer(b"".join(messages), "<i2").reshape(-1, 2)
    assert heard[:, 0].tolist() == heard[:, 1].tolist() == [7] * 170 + [0] * (480 - 170)


def test_a_peer_that_plays_each_message_by_itself_gets_a_sound_in_one_and_never_silence() -> None:
    peer = Peer(whole_sounds=True)
    speaker = peer.speaker()
    speaker.keep_alive(True)
    assert speaker.is_idle
    speaker.play(np.full(1610, 7, np.int16))
    speaker.send(1)
    speaker.send(1)
    assert [write[4:] for write in peer.writes] == [b"\7\0" * 1610]


def test_a_sound_has_the_rate_that_the_peer_takes() -> None:
    peer = Peer()
    speaker = peer.speaker(MediaFormat(rate_hz=16_000), sound_hz=8_000)
    speaker.play(beep(8_000))
    speaker.send(12)
    (write,) = peer.writes
    heard = np.frombuffer(b"".join(write[at + 4 : at + 644] for at in range(0, len(write), 644)), "<i2")
    assert len(heard) == 3_200
    assert find_beeps(heard, 16_000, BEEP_HZ) == [0.0]


def test_a_newer_sound_takes_the_place_of_what_still_waits() -> None:
    peer = Peer()
    speaker = peer.speaker()
    speaker.play(np.full(480, 1, np.int16))
    speaker.send(1)
    speaker.play(np.full(160, 2, np.int16))
    speaker.send(5)
    assert [set(write[4:]) - {0} for write in peer.writes] == [{1}, {2}]
    assert speaker.is_idle


def test_silence_that_the_peer_has_not_played_is_taken_back_when_it_is_not_wanted_any_more() -> None:
    peer = Peer(is_text=True, clear=b"clear")
    speaker = peer.speaker()
    speaker.keep_alive(False)
    assert peer.writes == []
    speaker.keep_alive(True)
    speaker.keep_alive(False)
    speaker.keep_alive(False)
    assert peer.writes == [b"\x81\x05clear"]
    assert speaker.is_idle


def test_a_sound_that_still_waits_is_not_taken_back_with_the_silence() -> None:
    peer = Peer(clear=b"clear")
    speaker = peer.speaker()
    speaker.keep_alive(True)
    speaker.play(np.full(160, 7, np.int16))
    speaker.keep_alive(False)
    speaker.send(1)
    assert [write[4:] for write in peer.writes] == [b"\7\0" * 160]


def test_a_text_dialect_gets_text_messages() -> None:
    peer = Peer(is_text=True)
    speaker = peer.speaker(MediaFormat(codec=Codec.PCMU))
    speaker.keep_alive(True)
    speaker.send(1)
    assert peer.writes == [b"\x81\x7e\x00\xa0" + b"\xff" * 160]
