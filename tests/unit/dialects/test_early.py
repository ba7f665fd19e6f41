"""Audio before the start: kept in its order up to a bound, by itself and by every dialect."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.tones import tone
from tests.support.vendor_peers import peer_of
from wavstream.dialects.base import Dialect, UpgradeRequest
from wavstream.dialects.detection import AutoDialect
from wavstream.dialects.early import HELD_BYTES, EarlyAudio
from wavstream.dialects.events import Detected, Event, Frame, Ignored, Refused, StreamStarted
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import MediaError
from wavstream.simulator.vendors.base import Message, Peer
from wavstream.simulator.vendors.registry import PEERS

EVERY_DIALECT = pytest.mark.parametrize("name", sorted(DIALECTS))


def test_messages_come_out_as_they_went_in_and_once() -> None:
    early = EarlyAudio()
    assert not early
    assert all(early.hold(bytes([number])) for number in range(5))
    assert (len(early), early.held_bytes) == (5, 5)
    assert early.take() == [bytes([number]) for number in range(5)]
    assert (len(early), early.held_bytes, early.take()) == (0, 0, [])


def test_the_message_that_fills_the_room_is_kept_and_told_of() -> None:
    early = EarlyAudio()
    assert early.hold(bytes(HELD_BYTES - 1))
    assert not early.hold(b"1")
    assert early.held_bytes == HELD_BYTES


def test_a_message_larger_than_the_room_is_kept_alone() -> None:
    early = EarlyAudio()
    assert not early.hold(bytes(3 * HELD_BYTES))
    assert early.take() == [bytes(3 * HELD_BYTES)]


def test_messages_without_a_byte_have_their_bound_too() -> None:
    early = EarlyAudio()
    kept = 1
    while early.hold(b""):
        kept += 1
        assert kept <= HELD_BYTES
    assert kept == len(early) == HELD_BYTES // 16


def said_by(peer: Peer, pieces: int = 8) -> list[list[Message]]:
    """Return the messages of so many pieces of 20 ms."""
    ptime = peer.stream.rate_hz // 50
    audio = tone(440, pieces / 50, rate_hz=peer.stream.rate_hz).reshape(-1, 1)
    return [peer.audio(first, audio[first : first + ptime]) for first in range(0, len(audio), ptime)]


SPEAKERS = [name for name in sorted(DIALECTS) if name in PEERS]
IN_BINARY = [name for name in SPEAKERS if isinstance(said_by(peer_of(name, "s"), 1)[0][0], bytes)]
IN_TEXT = [name for name in SPEAKERS if name not in IN_BINARY]
ANSWERED_FIRST = {"audiohook"}
"""Which send no audio before we have answered: there is no track that it could be of."""


def give(dialect: Dialect, message: Message) -> Sequence[Event]:
    return dialect.text(message.encode()) if isinstance(message, str) else dialect.binary(message)


def asked(peer: Peer) -> UpgradeRequest:
    return UpgradeRequest(session_id="s", leg="a", query=dict(peer.query()), headers=dict(peer.headers()))


def nameless() -> UpgradeRequest:
    """Return a request that says nothing of the audio."""
    return UpgradeRequest(session_id="s", leg="a", query={}, headers={})


def audio_of(events: Sequence[Event]) -> bytes:
    return b"".join(event.payload for event in events if isinstance(event, Frame))


def play(dialect: Dialect, messages: Sequence[Message]) -> bytes:
    """Return the audio of all frames; nothing may be refused."""
    events = [*dialect.opened()]
    for message in messages:
        more = give(dialect, message)
        events += more
        dialect = next((event.dialect for event in more if isinstance(event, Detected)), dialect)
    assert not any(isinstance(event, Refused) for event in events)
    assert sum(isinstance(event, StreamStarted) for event in events) == 1
    return audio_of(events)


@pytest.mark.parametrize("name", sorted({*IN_BINARY} - ANSWERED_FIRST))
@pytest.mark.parametrize("is_found", [False, True])
def test_audio_that_overtakes_the_start_stands_before_what_follows(name: str, is_found: bool) -> None:
    peer = peer_of(name, "s")
    opening, pieces = peer.opening(), said_by(peer)
    audio = [message for piece in pieces for message in piece]
    late = [message for message in audio if isinstance(message, str)]  # metadata that come with the first audio
    if is_found and not (opening or late):
        return  # nothing tells what it is
    early = [message for message in audio if isinstance(message, bytes)]
    dialect = AutoDialect(asked(peer)) if is_found else DIALECTS[name](asked(peer))
    assert play(dialect, [*early[:4], *opening, *late, *early[4:]]) == play(
        DIALECTS[name](asked(peer)), [*opening, *late, *early]
    )


@pytest.mark.parametrize("name", IN_TEXT)
def test_media_before_the_start_in_text_are_counted_or_kept_and_the_start_still_starts(name: str) -> None:
    peer = peer_of(name, "s")
    opening, (early, *later) = peer.opening(), said_by(peer)
    dialect = DIALECTS[name](asked(peer))
    events = [*dialect.opened(), *(event for message in early for event in give(dialect, message))]
    assert not {type(event) for event in events} - {Ignored}
    assert play(dialect, [*opening, *(message for piece in later for message in piece)])


@EVERY_DIALECT
def test_of_a_stream_that_never_starts_no_more_than_its_room_is_kept(name: str) -> None:
    """It starts with all of it, or is refused; or each message was told of as of no use."""
    dialect = DIALECTS[name](nameless())
    events = [*dialect.opened()]
    kept = 0
    message = tone(440, 0.02).tobytes()
    try:
        while not any(isinstance(event, StreamStarted) for event in events):
            more = dialect.binary(message)
            events += more
            kept += 0 if any(isinstance(event, Ignored) for event in more) else len(message)
            assert kept < HELD_BYTES + 2 * len(message)
            if len(events) > 1_000:
                assert kept == 0
                return
    except MediaError:
        return
    assert sum(event.messages for event in events if isinstance(event, Frame)) * len(message) == kept


@EVERY_DIALECT
def test_a_stream_that_has_waited_starts_with_what_was_kept_or_is_refused_or_waits_for_what_it_needs(
    name: str,
) -> None:
    dialect = DIALECTS[name](nameless())
    message = tone(440, 0.02).tobytes()
    events = [*dialect.opened()]
    try:
        for _ in range(5):
            events += dialect.binary(message)
        if not any(isinstance(event, StreamStarted) for event in events):
            events += dialect.waited()
    except MediaError:
        return
    if any(isinstance(event, StreamStarted) for event in events):
        assert sum(event.messages for event in events if isinstance(event, Frame)) == 5
    else:
        assert not {type(event) for event in events} - {Ignored}
