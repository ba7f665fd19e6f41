"""The parameters of the verbs: what each becomes, and that they and their defaults are those of SignalWire's schema."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator
from typing import Any

import pytest
from signalwire.core.function_result import FunctionResult
from signalwire.core.swml_builder import SWMLBuilder
from signalwire.core.swml_service import SWMLService

from tests.support.waiting import until
from tests.unit.api.signalwire.conftest import PROJECT
from tests.unit.api.signalwire.swml.conftest import Swml
from wavstream.api.signalwire.swml.verbs import (
    Parameters,
    Play,
    Playback,
    Record,
    RecordCall,
    Silence,
    Speech,
    StopRecordCall,
    sound,
)
from wavstream.model.options import RecordingOptions

SCHEMA = json.loads(importlib.resources.files("signalwire").joinpath("schema.json").read_text("utf-8"))["$defs"]
HOOK = "https://shop.example/hooks"


# ---- SignalWire's schema ---------------------------------------------------------------------------------------------


def of_schema(name: str, verb: str) -> dict[str, Any]:
    return SCHEMA[name]["properties"][verb]["properties"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("verb", "name", "parameters"),
    [
        ("record_call", "RecordCall", RecordCall),
        ("record", "Record", Record),
        ("stop_record_call", "StopRecordCall", StopRecordCall),
    ],
)
def test_a_verb_has_the_parameters_and_the_defaults_of_signalwires_schema(
    verb: str, name: str, parameters: type[Parameters]
) -> None:
    schema = of_schema(name, verb)

    assert set(parameters.model_fields) == set(schema)
    defaults = {each: field["default"] for each, field in schema.items() if "default" in field}
    assert {each: parameters.model_fields[each].default for each in defaults} == defaults


def test_what_play_does_not_take_is_known() -> None:
    both = {**SCHEMA["PlayWithURL"]["properties"], **SCHEMA["PlayWithURLS"]["properties"]}

    assert set(both) - set(Play.model_fields) == {"url", "auto_answer", "say_voice", "say_gender", "status_url"}


# ---- what the parameters become -------------------------------------------------------------------------------------


async def test_record_call_has_the_defaults_of_its_page_and_none_of_the_servers(swml: Swml) -> None:
    await swml.main({"record_call": {}})

    assert swml.commands.only.options == RecordingOptions().changed(
        {
            "format": "wav",
            "channels": "mono",
            "track": "both",
            "terminators": "",
            "beep": False,
            "sensitivity": 44.0,
            "initial_timeout_s": 0,
            "end_silence_timeout_s": 0,
            "max_length_s": 0,
        }
    )


async def test_record_has_the_defaults_of_its_page_and_none_of_the_servers(swml: Swml) -> None:
    await swml.start({"sections": {"main": ["record"]}})
    await until(lambda: swml.commands.recordings)

    assert swml.commands.only.options == RecordingOptions().changed(
        {
            "format": "wav",
            "channels": "mono",
            "track": "inbound",
            "terminators": "#",
            "beep": False,
            "sensitivity": 44.0,
            "initial_timeout_s": 4.0,
            "end_silence_timeout_s": 5.0,
            "max_length_s": 0,
        }
    )
    swml.commands.hang_up()


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ({"stereo": True}, {"channels": "stereo"}),
        ({"format": "mp3"}, {"format": "mp3"}),
        ({"direction": "speak"}, {"track": "inbound"}),
        ({"direction": "listen"}, {"track": "outbound"}),
        ({"direction": "both"}, {"track": "both"}),
        ({"terminators": "#*1A"}, {"terminators": "#*1A"}),
        ({"terminators": None}, {"terminators": ""}),
        ({"beep": True}, {"beep": True}),
        ({"input_sensitivity": 0}, {"sensitivity": 0.0}),
        ({"input_sensitivity": 100.0}, {"sensitivity": 100.0}),
        ({"initial_timeout": 0.1}, {"initial_timeout_s": 0.1}),
        ({"end_silence_timeout": 14_400}, {"end_silence_timeout_s": 14_400.0}),
        ({"max_length": 2.5}, {"max_length_s": 2.5}),
    ],
)
async def test_a_parameter_of_record_call_becomes_an_option(
    swml: Swml, said: dict[str, Any], options: dict[str, Any]
) -> None:
    run = await swml.main({"record_call": said})

    made = swml.commands.only.options
    assert run["status"] == "completed"
    assert {name: getattr(made, name) for name in options} == options


async def test_a_recording_knows_its_verb_its_handle_its_callback_and_its_project(swml: Swml) -> None:
    await swml.main({"record_call": {"control_id": "rec-1", "status_url": HOOK}})

    origin = swml.commands.only.origin
    assert (origin.api, origin.command, origin.control_id) == ("signalwire", "record_call", "rec-1")
    assert (origin.status_url, origin.said) == (HOOK, {"project_id": PROJECT})


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("silence:10", Silence(10.0)),
        ("silence: 2.5", Silence(2.5)),
        ("silence:.5", Silence(0.5)),
        ("silence:0", Silence(0.0)),
        ("say:hello", Speech("hello")),
        ("say: at 10:30 ", Speech("at 10:30")),
        ("https://rec.example.com/files/a", Playback("https://rec.example.com/files/a")),
    ],
)
def test_a_url_of_play_is_silence_speech_or_a_recording(text: str, meant: object) -> None:
    assert sound(text) == meant


# ---- what SignalWire's own client makes ------------------------------------------------------------------------------


def documents(result: FunctionResult) -> Iterator[Any]:
    return (action["SWML"] for action in result.to_dict()["action"])


async def test_the_actions_of_signalwires_client_start_and_stop_a_recording(swml: Swml) -> None:
    result = FunctionResult("Recording").record_call(
        control_id="rec-1",
        stereo=True,
        format="mp3",
        direction="both",
        terminators="#",
        beep=True,
        input_sensitivity=60.0,
        initial_timeout=3.0,
        end_silence_timeout=2.0,
        max_length=60.0,
        status_url=HOOK,
    )
    start, stop = documents(result.stop_record_call("rec-1"))

    assert (await swml.run(start))["status"] == "completed"
    recording = swml.commands.only
    assert recording.status.is_running
    assert recording.options == RecordingOptions().changed(
        {
            "format": "mp3", "channels": "stereo", "track": "both", "terminators": "#", "beep": True,
            "sensitivity": 60.0, "initial_timeout_s": 3.0, "end_silence_timeout_s": 2.0, "max_length_s": 60.0,
        }
    )  # fmt: skip
    assert (await swml.run(stop))["status"] == "completed"
    assert not swml.commands.only.status.is_running


async def test_a_stop_of_signalwires_client_without_a_handle_stops_what_another_document_started(swml: Swml) -> None:
    start, stop = documents(FunctionResult("Recording").record_call().stop_record_call())

    await swml.run(start)
    run = await swml.run(stop)

    assert (run["status"], run["variables"]["stop_record_call_result"]) == ("completed", "success")
    assert not swml.commands.only.status.is_running


async def test_a_document_that_signalwires_client_builds_is_run(swml: Swml) -> None:
    builder = SWMLBuilder(SWMLService("recorder"))
    builder.record_call(beep=True)  # type: ignore[call-arg]  # so it runs; its types would have it nested once more
    builder.say("Leave your message now").play(urls=["silence:2", "silence: 1.5"]).play(url="silence:1", volume=-6.0)
    builder.stop_record_call()

    run = await swml.run(builder.build())

    assert [step["verb"] for step in run["steps"]] == [
        "record_call", "play", "play", "play", "stop_record_call"
    ]  # fmt: skip
    assert run["status"] == "completed"
    assert swml.commands.stopped_at_s[0] - swml.commands.started_at_s[0] >= 4.5
