"""Whatever comes as a packet gives whole samples, not too many, or none; and what comes behind it is decoded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.packets import amr_wb_frames, amr_wb_packets, packets
from tests.support.speech import caller
from wavstream.dialects.amr_wb import MAX_FRAMES, AmrWbPayloads
from wavstream.dialects.packet_codecs import MAX_PACKET_BYTES, PacketDecoder
from wavstream.model.audio import PacketCodec
from wavstream.simulator.packet_encoder import amr_wb_payload

MOST_BYTES = {
    PacketCodec.G722: MAX_PACKET_BYTES * 4,
    PacketCodec.OPUS: 120 * 48 * 2,
    PacketCodec.AMR_WB: MAX_FRAMES * 640,
}
GOOD = {
    PacketCodec.G722: packets(PacketCodec.G722, caller(16_000))[160:180],
    PacketCodec.OPUS: packets(PacketCodec.OPUS, caller(48_000))[160:180],
    PacketCodec.AMR_WB: amr_wb_packets(octet_aligned=False)[160:180],
}
FRAMES = st.lists(st.sampled_from(amr_wb_frames()[::7]), min_size=1, max_size=MAX_FRAMES)


@st.composite
def damaged(draw: st.DrawFn, codec: PacketCodec) -> bytes:
    """Return a good packet that was cut, lengthened or changed in some bytes."""
    packet = bytearray(draw(st.sampled_from(GOOD[codec])))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 255)), max_size=4)):
        packet[place % len(packet)] = value
    return bytes(packet[: draw(st.integers(0, len(packet)))]) + draw(st.binary(max_size=8))


@examples(150)
@given(st.data(), st.sampled_from(PacketCodec))
def test_any_bytes_are_decoded_or_give_nothing(data: st.DataObject, codec: PacketCodec) -> None:
    decoder = PacketDecoder(codec)
    anything = st.one_of(damaged(codec), st.binary(max_size=300), st.binary(min_size=7_990, max_size=8_010))

    for packet in data.draw(st.lists(anything, max_size=8)):
        samples = decoder.decode(packet)
        assert len(samples) % 2 == 0
        assert len(samples) <= MOST_BYTES[codec]

    assert len(decoder.decode(GOOD[codec][0])) == decoder.rate_hz // 50 * 2


@given(FRAMES, st.booleans())
def test_amr_wb_payloads_have_the_frames_that_were_put_in(frames: list[bytes], octet_aligned: bool) -> None:
    assert AmrWbPayloads().frames(amr_wb_payload(frames, octet_aligned=octet_aligned)) == frames


@given(st.binary(max_size=200))
def test_any_amr_wb_payload_has_few_frames_of_their_sizes(payload: bytes) -> None:
    frames = AmrWbPayloads().frames(payload)
    assert len(frames) <= MAX_FRAMES
    assert {len(frame) for frame in frames} <= {18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 1}
