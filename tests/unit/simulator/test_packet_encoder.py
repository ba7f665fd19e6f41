from __future__ import annotations

from ctypes.util import find_library

import numpy as np
import pytest

from tests.support.packets import likeness
from tests.support.speech import caller
from wavstream.dialects.packet_codecs import PacketDecoder
from wavstream.errors import BadParameter
from wavstream.model.audio import PacketCodec
from wavstream.simulator import packet_encoder
from wavstream.simulator.packet_encoder import INSTALL_AMR_WB, PacketEncoder

encodes_amr_wb = pytest.mark.skipif(find_library("vo-amrwbenc") is None, reason=f"no encoder here: {INSTALL_AMR_WB}")


@pytest.mark.parametrize(
    "codec", [PacketCodec.G722, PacketCodec.OPUS, pytest.param(PacketCodec.AMR_WB, marks=encodes_amr_wb)]
)
@pytest.mark.parametrize("octet_aligned", [True, False])
def test_every_packet_has_20_ms_however_the_samples_come(codec: PacketCodec, octet_aligned: bool) -> None:
    at_once, in_bits, decoder = (
        PacketEncoder(codec, octet_aligned=octet_aligned),
        PacketEncoder(codec, octet_aligned=octet_aligned),
        PacketDecoder(codec),
    )
    said = caller(at_once.rate_hz)

    packets = at_once.encode(said)

    assert packets == [packet for bit in np.array_split(said, 777) for packet in in_bits.encode(bit)]
    assert len(packets) == len(said) // at_once.packet_samples
    assert likeness(said, [decoder.decode(packet) for packet in packets])[1] > 0.94


def test_without_an_encoder_of_amr_wb_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packet_encoder, "find_library", lambda name: None)

    with pytest.raises(BadParameter, match="apt-get install libvo-amrwbenc0"):
        PacketEncoder(PacketCodec.AMR_WB)
