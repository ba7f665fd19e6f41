"""The documents of SignalWire's pages, run to the letter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.waiting import until
from tests.unit.api.signalwire.swml import pages
from tests.unit.api.signalwire.swml.conftest import RECORDED, Swml
from wavstream.api.signalwire.swml import speech
from wavstream.model.options import ChannelLayout, FileFormat, TrackChoice
from wavstream.model.recording import EndReason

BOTH = [pages.BOTH_SIDES, pages.as_data(pages.BOTH_SIDES), pages.BOTH_SIDES_BEFORE, pages.SPACED]
SPEAKER = [pages.SPEAKERS_SIDE, pages.as_data(pages.SPEAKERS_SIDE), pages.SPEAKERS_SIDE_BEFORE]
FORMS = ["today's YAML", "JSON", "YAML as it was", "YAML as people write it"]


@pytest.fixture(autouse=True)
def mute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing speak, so that what is heard is the recording."""
    monkeypatch.setattr(speech, "can_speak", lambda: False)


@pytest.mark.parametrize("document", [pages.MP3, pages.as_data(pages.MP3)], ids=["YAML", "JSON"])
async def test_an_mp3_recording_of_the_call_is_started_and_goes_on_after_the_document(
    swml: Swml, document: Any
) -> None:
    run = await swml.run(document)

    recording = swml.commands.only
    assert (recording.options.format, recording.options.track) == (FileFormat.MP3, TrackChoice.BOTH)
    assert recording.status.is_running
    assert (run["status"], run["error"]) == ("completed", None)
    assert run["variables"] == {
        "record_call_url": swml.parts.urls.of(recording),
        "record_call_result": "success",
        "record_control_id": recording.origin.control_id,
    }


@pytest.mark.parametrize("document", BOTH, ids=FORMS)
async def test_both_sides_are_recorded_for_ten_seconds_and_played_back(swml: Swml, document: Any) -> None:
    run = await swml.run(document)

    options = swml.commands.only.options
    assert options.track is TrackChoice.BOTH
    assert options.channels is ChannelLayout.MONO
    assert options.beep
    assert options.terminators == ("" if document == pages.BOTH_SIDES_BEFORE else "#")
    await recorded_and_played_back(swml, run)


@pytest.mark.parametrize("document", SPEAKER, ids=FORMS[:3])
async def test_the_speakers_side_is_recorded_for_ten_seconds_and_played_back(swml: Swml, document: Any) -> None:
    run = await swml.run(document)

    options = swml.commands.only.options
    assert (options.track, options.beep, options.terminators) == (TrackChoice.INBOUND, True, "")
    await recorded_and_played_back(swml, run)


async def recorded_and_played_back(swml: Swml, run: dict[str, Any]) -> None:
    assert run["status"] == "completed"
    assert [step["status"] for step in run["steps"]] == ["completed"] * 4
    assert [step["note"] for step in run["steps"]] == [None, SKIPPED, None, SKIPPED]
    assert run["variables"]["stop_record_call_result"] == "success"
    assert swml.commands.started_at_s == [0.0]
    assert swml.commands.stopped_at_s == [10.0]
    assert np.array_equal(swml.heard(), RECORDED)
    assert swml.time.now_s == 12.0


SKIPPED = "say: was skipped, nothing speaks here: install wavstream[say]"


async def test_a_message_that_its_caller_ends_with_a_key_is_played_back_all_the_same(swml: Swml) -> None:
    swml.time.at(4, lambda: swml.commands.end_by_itself(swml.commands.only, EndReason.TERMINATOR))

    run = await swml.run(pages.BOTH_SIDES)

    assert (run["status"], run["steps"][2]["note"]) == ("completed", "the recording had ended already (terminator)")
    assert run["variables"]["stop_record_call_result"] == "success"
    assert np.array_equal(swml.heard(), RECORDED)


async def test_the_page_of_record_waits_for_the_end_of_the_message_and_plays_it_back(swml: Swml) -> None:
    url = await swml.start(pages.FOREGROUND)
    await until(lambda: swml.commands.recordings)
    assert (await swml.client.get(url)).json()["status"] == "running"
    recording = swml.commands.only
    swml.commands.end_by_itself(recording, EndReason.SILENCE)

    run = await swml.ended(url)

    assert (recording.options.end_silence_timeout_s, recording.options.beep) == (3.0, True)
    assert (run["status"], run["steps"][1]["note"]) == ("completed", "the recording ended (silence)")
    assert run["variables"] == {"record_url": swml.parts.urls.of(recording), "record_result": "success"}
    assert np.array_equal(swml.heard(), RECORDED)
