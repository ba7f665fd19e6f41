from __future__ import annotations

import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from tests.support.packets import amr_wb_frames, amr_wb_packets, likeness, packets
from tests.support.speech import caller
from wavstream.dialects import packet_codecs
from wavstream.dialects.amr_wb import MAX_FRAMES, AmrWbPayloads
from wavstream.dialects.packet_codecs import MAX_PACKET_BYTES, PacketDecoder
from wavstream.errors import BadParameter
from wavstream.model.audio import PacketCodec
from wavstream.simulator.packet_encoder import amr_wb_payload

G722, OPUS, AMR_WB = PacketCodec.G722, PacketCodec.OPUS, PacketCodec.AMR_WB
SPEECH, NO_DATA, LOST = amr_wb_frames()[200], b"\x7c", b"\x74"


def opus_packets(samples: np.ndarray[tuple[int, ...], np.dtype[np.int16]], layout: str, **options: str) -> list[bytes]:
    """Return samples, (n,) of each channel alike, as another encoder makes them of 20 ms each."""
    context = av.CodecContext.create("libopus", "w")
    assert isinstance(context, av.AudioCodecContext)
    context.sample_rate, context.format, context.layout = 48_000, "s16", layout
    context.options = options
    channels = len(context.layout.channels)
    made: list[bytes] = []
    for first in range(0, len(samples) - 959, 960):
        row = np.repeat(samples[first : first + 960], channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(row, format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, first, Fraction(1, 48_000)
        made += [bytes(packet) for packet in context.encode(frame)]
    return made


@pytest.mark.parametrize(("codec", "rate_hz", "delay_ms"), [(G722, 16_000, 1.4), (OPUS, 48_000, 6.5)])
def test_speech_comes_out_as_it_went_in_as_much_later_as_the_codec_looks_ahead(
    codec: PacketCodec, rate_hz: int, delay_ms: float
) -> None:
    decoder = PacketDecoder(codec)
    said = caller(rate_hz)

    decoded = [decoder.decode(packet) for packet in packets(codec, said)]

    assert decoder.rate_hz == rate_hz
    assert {len(samples) for samples in decoded} == {rate_hz // 50 * 2}, "20 ms each"
    delay, alike = likeness(said, decoded)
    assert delay * 1000 / rate_hz == pytest.approx(delay_ms, abs=0.1)
    assert alike > 0.95


@pytest.mark.parametrize("octet_aligned", [True, False])
@pytest.mark.parametrize("together", [1, 3, MAX_FRAMES])
def test_amr_wb_is_read_in_both_forms_with_any_number_of_frames(octet_aligned: bool, together: int) -> None:
    decoder = PacketDecoder(AMR_WB)

    decoded = [decoder.decode(packet) for packet in amr_wb_packets(octet_aligned=octet_aligned, together=together)]

    assert sum(map(len, decoded)) == len(amr_wb_frames()) * 640, "comfort noise and no data have their time"
    delay, alike = likeness(caller(16_000), decoded)
    assert delay == 95  # 5.9 ms
    assert alike > 0.94


def test_opus_of_two_channels_becomes_one_and_no_louder() -> None:
    decoder = PacketDecoder(OPUS)
    said = caller(48_000)

    decoded = [decoder.decode(packet) for packet in opus_packets(said, "stereo")]

    _, alike = likeness(said, decoded)
    assert alike > 0.97
    heard = np.frombuffer(b"".join(decoded), "<i2").astype(float)
    assert np.std(heard) == pytest.approx(np.std(said[: len(heard)].astype(float)), rel=0.1)


def test_opus_packets_of_discontinuous_transmission_have_their_time() -> None:
    decoder = PacketDecoder(OPUS)
    silent = opus_packets(np.zeros(48_000, np.int16), "mono", application="voip", dtx="1")
    assert min(map(len, silent)) <= 3

    assert {len(decoder.decode(packet)) for packet in silent} == {1_920}


def test_g722_goes_on_from_packet_to_packet_however_they_are_cut() -> None:
    said = packets(G722, caller(16_000))
    decoder, whole = PacketDecoder(G722), PacketDecoder(G722)

    apart = b"".join(decoder.decode(packet) for packet in said[150:200])

    assert apart == b"".join(whole.decode(b"".join(said[first : first + 10])) for first in range(150, 200, 10))
    assert apart != b"".join(PacketDecoder(G722).decode(packet) for packet in said[150:200])


@pytest.mark.parametrize(
    ("codec", "broken"),
    [
        pytest.param(OPUS, b"", id="empty Opus"),
        pytest.param(OPUS, b"\x03\xff", id="63 frames of Opus in a packet"),
        pytest.param(OPUS, b"\x1b\x03" + bytes(60), id="180 ms of Opus"),
        pytest.param(OPUS, b"\xff" * (MAX_PACKET_BYTES + 1), id="a long packet of Opus"),
        pytest.param(AMR_WB, b"", id="empty AMR-WB"),
        pytest.param(AMR_WB, bytes(range(256)), id="no AMR-WB"),
        pytest.param(AMR_WB, b"\xff" * (MAX_PACKET_BYTES + 1), id="a long packet of AMR-WB"),
    ],
)
def test_a_broken_packet_gives_nothing_and_the_next_one_is_decoded(codec: PacketCodec, broken: bytes) -> None:
    decoder = PacketDecoder(codec)
    good = packets(OPUS, caller(48_000)[:960]) if codec is OPUS else amr_wb_packets(octet_aligned=False)

    assert decoder.decode(broken) == b""
    assert len(decoder.decode(good[0])) == decoder.rate_hz // 50 * 2


def test_what_is_longer_than_any_packet_gives_nothing() -> None:
    decoder = PacketDecoder(G722)

    assert decoder.decode(b"") == b""
    assert decoder.decode(bytes(MAX_PACKET_BYTES + 1)) == b""
    assert len(decoder.decode(bytes(MAX_PACKET_BYTES))) == MAX_PACKET_BYTES * 4


@pytest.mark.parametrize("codec", PacketCodec)
def test_without_the_extra_the_stream_is_refused_with_the_line_that_installs_it(
    codec: PacketCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(BadParameter, match=r"pip install 'wavstream\[codecs\]'") as refused:
        PacketDecoder(codec, "media_format.encoding")

    assert refused.value.field == "media_format.encoding"
    assert codec.value in str(refused.value)
    assert len(str(refused.value)) <= 123, "it fits a close frame"


def test_a_build_of_pyav_without_the_codec_is_refused_with_the_one_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = {AMR_WB: packet_codecs._Decoding("libopencore_amrwb_that_is_not_there", 16_000)}
    monkeypatch.setattr(packet_codecs, "_DECODINGS", lacking)

    with pytest.raises(BadParameter, match=r"PyAV cannot decode amr-wb.*pip install 'wavstream\[codecs\]'"):
        PacketDecoder(AMR_WB)


@pytest.mark.parametrize("octet_aligned", [True, False])
@pytest.mark.parametrize("kept", [[SPEECH], [NO_DATA], [LOST], [SPEECH, LOST, NO_DATA, SPEECH], [amr_wb_frames()[20]]])
def test_frames_of_both_forms_are_found(octet_aligned: bool, kept: list[bytes]) -> None:
    assert AmrWbPayloads().frames(amr_wb_payload(kept, octet_aligned=octet_aligned)) == kept


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\xf0", id="no table of contents"),
        pytest.param(amr_wb_payload([SPEECH], octet_aligned=True)[:-1], id="cut off"),
        pytest.param(amr_wb_payload([SPEECH], octet_aligned=True) + b"\0", id="more than it says"),
        pytest.param(amr_wb_payload([SPEECH], octet_aligned=False)[:-1], id="cut off, bit by bit"),
        pytest.param(amr_wb_payload([SPEECH], octet_aligned=False) + b"\0", id="more than it says, bit by bit"),
        pytest.param(b"\xf0\x54" + bytes(32), id="a kind of frame that there is not"),
        pytest.param(amr_wb_payload([NO_DATA] * (MAX_FRAMES + 1), octet_aligned=True), id="too many frames"),
        pytest.param(amr_wb_payload([NO_DATA] * (MAX_FRAMES + 1), octet_aligned=False), id="too many, bit by bit"),
        pytest.param(b"\xf0" + b"\xfc" * 60_000, id="a table without an end"),
    ],
)
def test_a_payload_that_contradicts_itself_has_no_frames(payload: bytes) -> None:
    assert AmrWbPayloads().frames(payload) == ()
    assert PacketDecoder(AMR_WB).decode(payload) == b""


def test_a_lost_frame_of_amr_wb_is_concealed() -> None:
    decoder = PacketDecoder(AMR_WB)
    frames = [*amr_wb_frames()[190:200], LOST]

    *_, concealed = [decoder.decode(amr_wb_payload([frame], octet_aligned=True)) for frame in frames]

    assert np.abs(np.frombuffer(concealed, "<i2")).max() > 50
