from __future__ import annotations

import pytest

from wavstream.dialects.base import UpgradeRequest
from wavstream.dialects.pcm import PcmDialect
from wavstream.dialects.registry import DIALECTS
from wavstream.errors import BadParameter


def opened(**query: str) -> PcmDialect:
    dialect = PcmDialect(UpgradeRequest(session_id="s", leg="a", query=query, headers={}))
    assert len(dialect.opened()) == 1
    return dialect


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
    assert [dialect.name for dialect in DIALECTS.values()] == list(DIALECTS)
    assert list(DIALECTS)[:4] == ["pcm", "twilio", "audio-fork", "audio-stream"]
