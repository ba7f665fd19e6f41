from __future__ import annotations

import numpy as np
import pytest

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.pcm import PcmDialect
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import BadParameter


def opened(**query: str) -> PcmDialect:
    dialect = PcmDialect(UpgradeRequest(session_id="s", leg="a", query=query, headers={}))
    assert len(dialect.opened()) == 1
    return dialect


@pytest.mark.parametrize(
    ("codec", "silence"), [("l16", b"\0\0"), ("l16be", b"\0\0"), ("pcmu", b"\xff"), ("pcma", b"\xd5")]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_silence_is_in_the_codec_and_channels_of_the_stream(codec: str, silence: bytes, channels: int) -> None:
    dialect = opened(codec=codec, channels=str(channels), rate="16000")
    assert dialect.silence(20) == silence * channels * 320


def test_silence_of_an_odd_rate_is_whole_samples() -> None:
    assert len(opened(rate="11025").silence(20)) == 220 * 2


def test_the_codes_of_silence_are_the_smallest_steps_of_their_laws() -> None:
    # G.711: each code is the complement (mu-law) or the even-bit inversion (A-law) of sign and magnitude.
    mu, a = np.uint8(0xFF), np.uint8(0xD5)
    assert (~mu) & 0x7F == 0
    assert (a ^ np.uint8(0x55)) & 0x7F == 0


def test_a_refusal_names_the_field_the_value_and_what_is_accepted() -> None:
    with pytest.raises(BadParameter) as refused:
        opened(codec="opus")
    assert str(refused.value) == "codec: 'opus' is not accepted; l16, l16be, pcmu or pcma is"


def test_a_refusal_of_any_long_value_fits_a_close_frame() -> None:
    for field in ("codec", "rate", "channels", "track", "clock", "channel", "from", "to", "direction", "record"):
        with pytest.raises(BadParameter) as refused:
            opened(**{field: "\N{SNOWMAN}" * 9000})
        assert len(str(refused.value).encode()) <= 123


def test_a_dialect_is_found_by_its_own_name() -> None:
    assert {name: dialect.name for name, dialect in DIALECTS.items()} == {"pcm": "pcm"}
