"""What Telnyx streams in each of its codecs is what was said, in whatever order it comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.every_dialect import voice
from tests.support.listening import loudest_shift
from tests.support.recorder import recorder
from wavstream.model.audio import Codec, PacketCodec
from wavstream.simulator.caller import Leg
from wavstream.simulator.quirks import Swapped
from wavstream.simulator.vendors.base import AnyCodec

LIKE = 0.9
"""How much what a codec of packets carried is like what was said."""


@pytest.mark.parametrize(
    ("codec", "rate_hz"),
    [
        (Codec.PCMA, 8_000),
        (Codec.L16, 16_000),
        (Codec.L16BE, 16_000),
        (PacketCodec.G722, 16_000),
        (PacketCodec.OPUS, 48_000),
    ],
)
async def test_two_people_are_heard_as_they_spoke_though_messages_overtake_each_other(
    tmp_path: Path, codec: AnyCodec, rate_hz: int
) -> None:
    said = np.stack([voice("caller", rate_hz, 2.84, 5.44), voice("callee", rate_hz, 0.0, 2.6)], 1)
    leg = Leg("a", said, rate_hz, codec, quirks=[Swapped(10)], seed=77)
    async with recorder(tmp_path) as (client, service):
        recording = await client.start("call-77")
        await client.play_at_once("call-77", leg, dialect="telnyx")
        heard, heard_hz = await client.listen(recording)
        done = await client.get(recording)
        ignored = dict(service.endpoint.counters.ignored)
    assert (heard_hz, heard.shape[1]) == (rate_hz, 2)
    assert ignored == {}
    assert done["integrity"]["lost_ms"] == 0
    for channel, spoken in zip(heard.T, said.T, strict=True):
        start = loudest_shift(channel, spoken)
        there = channel[start : start + len(spoken)].astype(float)
        assert np.corrcoef(there, spoken[: len(there)])[0, 1] > LIKE
