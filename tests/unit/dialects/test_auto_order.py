from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from tests.support.speech import caller, mu_law_silence, noise, white_noise
from wavstream.dialects.byte_order import MAX_HELD, MAX_HELD_BYTES, AutoOrder
from wavstream.dialects.events import Frame
from wavstream.dialects.parameters import ByteOrder
from wavstream.model.audio import Codec
from wavstream.rendering.codecs.decode import decode
from wavstream.rendering.codecs.encode import encode
from wavstream.simulator.send import __file__ as SIMULATOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.int16]

ORDERS: tuple[ByteOrder, ByteOrder] = ("little", "big")
WIRE = {"little": "<i2", "big": ">i2"}


def other(order: ByteOrder) -> ByteOrder:
    return "big" if order == "little" else "little"


def frames(samples: Samples, order: ByteOrder, *, size: int = 160, track: int = 0) -> Iterator[Frame]:
    """Yield samples, (n,), as messages of so many in this order."""
    for first in range(0, len(samples), size):
        part = samples[first : first + size]
        yield Frame(track, first, len(part), part.astype(WIRE[order]).tobytes())


def given(auto: AutoOrder, sent: Iterator[Frame]) -> list[Frame]:
    return [frame for message in sent for frame in auto.feed(message)] + list(auto.flush())


def heard(given: list[Frame]) -> Samples:
    return np.frombuffer(b"".join(frame.payload for frame in given), "<i2").astype(np.int16)


def voice(name: str) -> Samples:
    samples, _ = soundfile.read(f"{SIMULATOR.rpartition('/')[0]}/voices/{name}.wav", dtype="int16")
    return np.asarray(samples, np.int16)


def through(samples: Samples, codec: Codec) -> Samples:
    """Return what a telephone line with G.711 makes of samples."""
    return decode(codec, 1, np.frombuffer(encode(samples.reshape(-1, 1), codec), np.uint8))[:, 0]


def tone(hertz: float, peak: float, length_s: float = 1) -> Samples:
    t = np.arange(round(8_000 * length_s)) / 8_000
    return np.asarray(np.rint(peak * np.sin(2 * np.pi * hertz * t + 0.3)), np.int16)


def louder(samples: Samples, gain: float) -> Samples:
    return np.asarray(np.rint(samples * gain).clip(-32_768, 32_767), np.int16)


LINES: dict[str, Samples] = {
    "caller": voice("caller"),
    "callee": voice("callee"),
    "callee over a mu-law line": through(voice("callee"), Codec.PCMU),
    "callee over an A-law line": through(voice("callee"), Codec.PCMA),
    "a voice as loud as it goes": louder(voice("callee"), 2),
    "a voice that is clipped": louder(voice("caller"), 6),
    "a voice at -40 dB": louder(voice("caller"), 0.01),
    "a voice on a line with an offset": louder(voice("caller"), 0.3)[:40_000] + white_noise(5, -80) + np.int16(900),
    "a quiet line of mu-law": mu_law_silence(2),
    "hiss": white_noise(2, -60),
    "hiss of one step": white_noise(2, -90),
    "a quiet line with an offset": white_noise(2, -80) + np.int16(300),
    "music on hold": sum((tone(hertz, 2_500, 2) for hertz in (262, 330, 392, 523)), np.zeros(16_000, np.int16)),
    "a dial tone": tone(350, 4_000) + tone(440, 4_000),
    "a ringing tone": tone(425, 8_000),
}


@pytest.mark.parametrize("default", ORDERS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("line", LINES)
def test_a_line_comes_out_as_it_was_said_in_either_order(line: str, order: ByteOrder, default: ByteOrder) -> None:
    auto = AutoOrder(default)

    out = given(auto, frames(LINES[line], order))

    assert auto.order == order
    assert np.array_equal(heard(out), LINES[line])
    assert [frame.position for frame in out] == list(range(0, len(LINES[line]), 160))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
def test_speech_is_known_wherever_one_begins_to_listen_and_at_its_first_frame(order: ByteOrder, rate_hz: int) -> None:
    size = rate_hz // 50
    speech = caller(rate_hz)
    voiced = [
        place
        for place in range(0, len(speech) - size, size)
        if np.mean(np.abs(speech[place : place + size]) > 100) > 0.5
    ]
    assert len(voiced) > 100

    for place in voiced:
        auto = AutoOrder(other(order))
        assert len(auto.feed(next(frames(speech[place:], order, size=size)))) == 1
        assert auto.order == order, place


@pytest.mark.parametrize("default", ORDERS)
@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(np.zeros(8_000, np.int16), id="digital silence"),
        pytest.param(noise(1).astype(np.int16) * np.int16(3), id="noise as loud as it goes"),
        pytest.param(tone(3_000, 32_000), id="a high tone as loud as it goes"),
        pytest.param(through(tone(1_000, 32_000), Codec.PCMA), id="a tone as loud as it goes on an A-law line"),
        pytest.param((voice("callee") >> 8) << 8, id="a voice of 8 bits"),
        pytest.param(np.full(8_000, 8, np.int16), id="the silence of an A-law line"),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_what_tells_nothing_is_taken_in_the_default_order(
    samples: Samples, order: ByteOrder, default: ByteOrder
) -> None:
    auto = AutoOrder(default)

    out = given(auto, frames(samples, order))

    assert auto.order is None
    assert np.array_equal(heard(out), samples if order == default else samples.byteswap())


def test_an_order_is_kept_whatever_comes_after_it() -> None:
    auto = AutoOrder("big")
    given(auto, frames(caller(), "little"))

    out = given(auto, frames(caller(), "big"))

    assert auto.order == "little"
    assert np.array_equal(heard(out), caller().byteswap())


def test_silence_before_the_first_sound_is_not_held() -> None:
    auto = AutoOrder("big")

    assert all(len(auto.feed(frame)) == 1 for frame in frames(np.zeros(16_000, np.int16), "little"))


@pytest.mark.parametrize("size", [1, 160, 4_000])
def test_few_messages_are_held_and_all_come_out_in_their_order(size: int) -> None:
    auto = AutoOrder("little")
    loud = louder(noise(1), 3)
    fed = out = 0

    for frame in frames(loud, "little", size=size):
        fed += frame.samples
        for settled in auto.feed(frame):
            assert settled.position == out
            out += settled.samples
        assert fed - out <= min(MAX_HELD * size, MAX_HELD_BYTES // 2)
    assert sum(frame.samples for frame in auto.flush()) == fed - out


def test_what_was_held_comes_out_in_the_order_that_is_found() -> None:
    auto = AutoOrder("little")
    said = np.concatenate([louder(noise(0.06), 3), caller()[24_000:24_160]])

    sent = list(frames(said, "big"))

    assert [len(auto.feed(frame)) for frame in sent] == [0, 0, 0, 4]
    assert auto.order == "big"


def test_the_search_goes_on_after_what_told_nothing_was_given() -> None:
    auto = AutoOrder("little")
    said = np.concatenate([louder(noise(1), 3), caller()])

    out = given(auto, frames(said, "big"))

    assert auto.order == "big"
    assert np.array_equal(heard(out)[8_000:], caller())


def test_two_tracks_of_a_stream_are_heard_together_and_each_keeps_its_own_order_of_frames() -> None:
    auto = AutoOrder("little")
    sent = [
        frame
        for pair in zip(frames(caller(), "big"), frames(voice("callee")[: len(caller())], "big", track=1), strict=False)
        for frame in pair
    ]

    out = given(auto, iter(sent))

    assert [(frame.track, frame.position) for frame in out] == [(frame.track, frame.position) for frame in sent]
    assert np.array_equal(heard([frame for frame in out if frame.track == 0]), caller()[: len(out) // 2 * 160])


@pytest.mark.parametrize("order", ORDERS)
def test_interleaved_channels_are_compared_each_with_itself(order: ByteOrder) -> None:
    still = white_noise(len(caller()) / 8_000, -80) + np.int16(9_000)
    both = np.stack([caller(), still], axis=1).reshape(-1)
    auto = AutoOrder(other(order), channels=2)

    out = given(auto, frames(both, order, size=320))

    assert auto.order == order
    assert np.array_equal(heard(out), both)


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x01\x02\x03"])
def test_half_a_sample_breaks_nothing(payload: bytes) -> None:
    auto = AutoOrder("big")
    out = [*auto.feed(Frame(0, 0, len(payload) // 2, payload)), *auto.flush()]

    assert [len(frame.payload) // 2 for frame in out] == [len(payload) // 2]


def test_frames_of_several_messages_stay_what_they_are() -> None:
    auto = AutoOrder("big")
    (frame,) = auto.feed(Frame(1, 5, 320, caller()[24_000:24_320].astype(">i2").tobytes(), 2))

    assert (frame.track, frame.position, frame.samples, frame.messages) == (1, 5, 320, 2)
