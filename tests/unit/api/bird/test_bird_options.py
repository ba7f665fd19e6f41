"""What a start of Bird's means in our options."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from wavstream.api.bird.options import PROMISED, Record, RecordCall, StartOptions, options_of
from wavstream.api.translation import translated
from wavstream.model.options import ChannelLayout, FileFormat, PauseBehavior, RecordingOptions, TrackChoice, Trim

OTHERWISE = RecordingOptions(
    format=FileFormat.WAV, channels=ChannelLayout.STEREO, track=TrackChoice.INBOUND, max_length_s=60,
    initial_timeout_s=3.0, end_silence_timeout_s=4.0, trim=Trim.SILENCE, beep=True, terminators="*",
    pause_behavior=PauseBehavior.SILENCE, transcription=True, transcription_language="fr-FR", sensitivity=70.0,
)  # fmt: skip
"""Defaults of a server, none of which is Bird's."""
BIRDS = RecordingOptions(format=FileFormat.MP3, channels=ChannelLayout.MONO, sensitivity=70.0)
"""What a start without a word means there: Bird's where Bird promises something, and the server's where it does not."""


def meant(request: RecordCall | Record) -> RecordingOptions:
    return replace(options_of(request, OTHERWISE), metadata={})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {}),
        ({"maxLength": 0}, {"max_length_s": 0}),
        ({"maxLength": 3600}, {"max_length_s": 3600}),
        ({"maxLength": 14_400, "stereo": True}, {"max_length_s": 14_400, "channels": "stereo"}),
        ({"stereo": False}, {"channels": "mono"}),
    ],
)
def test_a_start_of_a_whole_call_means_what_it_says_and_else_what_bird_promises(
    said: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert meant(RecordCall.model_validate(said)) == BIRDS.changed(expected)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, {"transcription_language": "en-US"}),
        ({"endKey": "#"}, {"terminators": "#"}),
        ({"timeout": 0, "maxLength": 0}, {"end_silence_timeout_s": 0.0, "max_length_s": 0}),
        (
            {"timeout": 5, "maxLength": 90, "beep": True},
            {"end_silence_timeout_s": 5.0, "max_length_s": 90, "beep": True},
        ),
        ({"transcribe": True, "transcribeLocale": "nl-NL"}, {"transcription": True, "transcription_language": "nl-NL"}),
    ],
)
def test_a_start_of_a_message_means_what_it_says_and_else_what_bird_promises(
    said: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert meant(Record.model_validate(said)) == BIRDS.changed({"transcription_language": "en-US"} | expected)


def test_nothing_that_bird_promises_is_left_to_the_defaults_of_a_server() -> None:
    differ = {name for name in PROMISED if getattr(OTHERWISE, name) != getattr(BIRDS, name)}

    assert differ == set(PROMISED)


WRONG: list[tuple[type[RecordCall] | type[Record], dict[str, Any], set[str]]] = [
    (RecordCall, {"maxLength": -1, "stereo": "yes"}, {"maxLength", "stereo"}),
    (RecordCall, {"maxLength": 14_401}, {"maxLength"}),
    (RecordCall, {"maxLength": "10"}, {"maxLength"}),
    (RecordCall, {"maxLength": 1.5}, {"maxLength"}),
    (RecordCall, {"maxLength": None, "stereo": None}, {"maxLength", "stereo"}),
    (RecordCall, {"max_length": 1, "beep": True}, {"max_length", "beep"}),
    (Record, {"endKey": "A", "timeout": -1, "maxLength": 99_999}, {"endKey", "timeout", "maxLength"}),
    (Record, {"endKey": "12"}, {"endKey"}),
    (Record, {"endKey": 1}, {"endKey"}),
    (Record, {"timeout": 14_401, "beep": 1, "transcribe": "no"}, {"timeout", "beep", "transcribe"}),
    (Record, {"transcribeLocale": "xx-XX", "stereo": True}, {"transcribeLocale", "stereo"}),
]


@pytest.mark.parametrize(("model", "said", "wrong"), WRONG)
def test_every_wrong_field_of_a_start_is_named_at_once(
    model: type[RecordCall] | type[Record], said: dict[str, Any], wrong: set[str]
) -> None:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(said)

    assert {each["loc"][0] for each in refused.value.errors()} == wrong


def test_a_start_by_our_own_api_takes_the_words_of_both_commands_and_makes_an_mp3() -> None:
    options = translated(StartOptions.model_validate({"maxLength": 60, "stereo": True, "endKey": "#", "timeout": 3}))

    assert options == {
        "max_length_s": 60, "channels": "stereo", "terminators": "#", "end_silence_timeout_s": 3, "beep": False,
        "transcription": False, "transcription_language": "en-US", "format": "mp3",
    }  # fmt: skip
