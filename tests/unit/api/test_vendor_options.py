"""A start by our own API whose options are a vendor's, by the vendor's own names."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.api.conftest import ApiHarness
from wavstream.api.registry import FACADES
from wavstream.api.translation import Becomes, marked
from wavstream.model.options import ChannelLayout, FileFormat, RecordingOptions, TrackChoice


async def test_a_vendors_names_mean_what_they_mean_to_the_vendor(world: ApiHarness, client: httpx.AsyncClient) -> None:
    said = {"format": "mp3", "channels": "dual", "timeout_secs": 5, "client_state": "aGk="}

    answer = await client.post("/v1/recordings", json={"session_id": "call-77", "telnyx": said})

    assert answer.status_code == 201, answer.text
    options = world.commands.recordings[answer.json()["id"]].options
    assert (options.format, options.channels, options.track) == (
        FileFormat.MP3,
        ChannelLayout.STEREO,
        TrackChoice.BOTH,
    )
    assert (options.end_silence_timeout_s, options.client_state) == (5, "aGk=")


async def test_an_option_of_ours_beside_them_wins(world: ApiHarness, client: httpx.AsyncClient) -> None:
    said: dict[str, Any] = {"session_id": "call-77", "signalwire": {"format": "wav"}, "format": "mp3", "beep": True}

    answer = await client.post("/v1/recordings", json=said)

    options = world.commands.recordings[answer.json()["id"]].options
    assert (options.format, options.beep, options.track) == (FileFormat.MP3, True, TrackChoice.INBOUND)


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"telnyx": {"format": "wav"}}, "/telnyx/channels"),
        ({"telnyx": {"format": "wav", "channels": "dual", "volume": 3}}, "/telnyx/volume"),
        ({"bird": {"maxLength": -1}}, "/bird/maxLength"),
        ({"signalwire": {"input_sensitivity": 100.5}}, "/signalwire/input_sensitivity"),
        ({"bird": {}, "signalwire": {}}, ""),
        ({"acme": {}}, "/acme"),
    ],
)
async def test_a_wrong_field_of_a_vendor_is_named_and_nothing_is_started(
    world: ApiHarness, client: httpx.AsyncClient, said: dict[str, Any], pointer: str
) -> None:
    answer = await client.post("/v1/recordings", json={"session_id": "call-77", **said})

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert world.commands.recordings == {}


def test_every_marked_field_becomes_an_option_that_exists() -> None:
    ours = set(RecordingOptions.__dataclass_fields__)

    for facade in FACADES:
        marks = dict(marked(facade.start_options))
        assert {mark.option for mark in marks.values()} <= ours
        assert len({mark.option for mark in marks.values()}) == len(marks)


def test_values_are_translated_by_a_table_a_function_or_not_at_all() -> None:
    assert Becomes("channels", {"dual": "stereo"}).value("dual") == "stereo"
    assert Becomes("max_length_s", lambda said: said * 60).value(2) == 120
    assert Becomes("format").value("wav") == "wav"
