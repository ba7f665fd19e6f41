"""The fields of ``record_start``: the vendor's own, each with its bounds, and the options that they become."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from telnyx.types.calls.action_start_recording_params import ActionStartRecordingParams

from tests.unit.api.telnyx.conftest import CALL, START, Caller, Calls
from wavstream.api.telnyx.options import LANGUAGES, StartOptions, options_of
from wavstream.api.telnyx.refusals import TITLES
from wavstream.api.telnyx.requests import ListDeliveries, ListRecordings, RecordStart
from wavstream.model.options import (
    ChannelLayout,
    FileFormat,
    PauseBehavior,
    RecordingOptions,
    TrackChoice,
    Trim,
)

PAGE = (Path(__file__).parents[4] / "docs" / "telnyx.md").read_text("utf-8")
LATIN_LINE = "x" * 40


def test_the_fields_are_those_of_the_vendors_client_and_the_redaction() -> None:
    assert {*RecordStart.model_fields} == {*get_type_hints(ActionStartRecordingParams), "redaction"}


def test_the_languages_are_those_of_the_vendors_client() -> None:
    hints = get_type_hints(ActionStartRecordingParams)

    assert frozenset(get_args(hints["transcription_language"])) == LANGUAGES


DEFAULTS = RecordingOptions(
    format=FileFormat.MP3,
    channels=ChannelLayout.MONO,
    track=TrackChoice.INBOUND,
    sample_rate=16_000,
    max_length_s=9,
    initial_timeout_s=8.0,
    end_silence_timeout_s=7.0,
    sensitivity=60.0,
    trim=Trim.SILENCE,
    beep=True,
    terminators="#",
    pause_behavior=PauseBehavior.SILENCE,
    transcription=True,
    transcription_language="fr",
    file_name="all",
    client_state="YQ==",
    metadata={"of": "shop"},
    retention_hours=3,
)
"""Others than the vendor's, all of them."""
KEPT = {
    "sample_rate": 16_000,
    "sensitivity": 60.0,
    "metadata": {"of": "shop"},
    "retention_hours": 3,
    "file_name": "all",
}
"""What the vendor has no word for, or what is named after the call."""


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({}, {}),
        ({"format": "mp3"}, {"format": FileFormat.MP3}),
        ({"channels": "single"}, {"channels": ChannelLayout.MONO}),
        ({"recording_track": "inbound"}, {"track": TrackChoice.INBOUND}),
        ({"recording_track": "outbound"}, {"track": TrackChoice.OUTBOUND}),
        ({"client_state": "aGVsbG8="}, {"client_state": "aGVsbG8="}),
        ({"play_beep": True}, {"beep": True}),
        ({"max_length": 14_400}, {"max_length_s": 14_400}),
        ({"timeout_secs": 5}, {"end_silence_timeout_s": 5.0}),
        ({"trim": "trim-silence"}, {"trim": Trim.SILENCE}),
        ({"custom_file_name": LATIN_LINE}, {"file_name": LATIN_LINE}),
        ({"transcription_language": "de-AT"}, {"transcription_language": "de-AT"}),
        (
            {"transcription": True},
            {
                "transcription": True,
                "metadata": {"of": "shop", "transcription": "not available: this server makes no transcripts"},
            },
        ),
        (
            {"redaction": ["pci", "pii", "phi"]},
            {"metadata": {"of": "shop", "redaction": "not available: this server redacts nothing"}},
        ),
        (dict.fromkeys(("client_state", "trim", "custom_file_name", "redaction", "transcription_language")), {}),
    ],
)
def test_a_field_becomes_an_option_and_one_that_is_left_out_has_the_vendors_default(
    said: dict[str, Any], meant: dict[str, Any]
) -> None:
    expected = RecordingOptions(**{**KEPT, **meant})

    assert options_of(StartOptions.model_validate({**START, **said}), DEFAULTS) == expected


WRONG: list[tuple[str, Any]] = [
    *(("format", each) for each in ("ogg", "WAV", "", 1, ["wav"], None)),
    *(("channels", each) for each in ("mono", "stereo", "", 2, None)),
    *(("client_state", each) for each in ("#", "aGVsbG8", "ä", "YQ==" * 1025, 7)),
    *(("command_id", each) for each in ("", "x" * 256, 7, ["a"])),
    *(("play_beep", each) for each in ("true", 1, None)),
    *(("max_length", each) for each in (-1, 14_401, 1.5, "60", 10**30, None, True)),
    *(("timeout_secs", each) for each in (-1, 14_401, 0.5, "5", None)),
    *(("recording_track", each) for each in ("all", "", None, 1)),
    *(("trim", each) for each in ("do-not-trim", "silence", "", True)),
    *(("custom_file_name", each) for each in ("", "x" * 41, "a/b", "a\\b", "a\nb", "\x00", 7)),
    *(("transcription", each) for each in ("true", 1, None)),
    *(("transcription_engine", each) for each in ("C", "a", "deepgram/nova-2", None)),
    *(("transcription_language", each) for each in ("", "english", "xx-XX", "EN", 7)),
    *(("transcription_min_speaker_count", each) for each in (0, -1, 101, 2.5, "2", 10**30)),
    *(("transcription_max_speaker_count", each) for each in (0, -1, 101, 2.5, "2", 10**30)),
    *(("transcription_profanity_filter", each) for each in ("no", 0, None)),
    *(("transcription_speaker_diarization", each) for each in ("no", 0, None)),
    *(("redaction", each) for each in ([], "pci", ["pci", "pci"], {"pci": True}, True)),
]


async def test_a_value_out_of_bounds_is_named_and_starts_nothing(
    calls: Calls, one: Caller, subtests: pytest.Subtests
) -> None:
    calls.commands.begin_call(CALL)
    for field, value in WRONG:
        with subtests.test(f"{field!r:.80} {value!r:.80}"):
            answer = await one.act("record_start", **{**START, field: value})

            assert answer.status_code == 422
            (mistake,) = answer.json()["errors"]
            assert (mistake["code"], mistake["title"], mistake["source"]) == (
                "10015",
                "Bad Request",
                {"pointer": f"/{field}"},
            )
            assert len(mistake["detail"]) > 20
            assert calls.commands.rows == {}


def test_every_field_has_values_that_are_out_of_bounds() -> None:
    assert {field for field, _ in WRONG} == {*RecordStart.model_fields}


@pytest.mark.parametrize(("kinds", "place"), [(["ssn"], "/redaction/0"), (["pci", None], "/redaction/1")])
async def test_a_kind_of_redaction_that_does_not_exist_is_named(
    calls: Calls, one: Caller, kinds: list[Any], place: str
) -> None:
    calls.commands.begin_call(CALL)

    answer = await one.act("record_start", **START, redaction=kinds)

    assert answer.json()["errors"][0]["source"] == {"pointer": place}


@pytest.mark.parametrize("missing", ["format", "channels"])
async def test_a_field_that_must_be_there_is_named(calls: Calls, one: Caller, missing: str) -> None:
    calls.commands.begin_call(CALL)
    said = {name: value for name, value in START.items() if name != missing}

    answer = await one.act("record_start", **said)

    assert (answer.status_code, answer.json()) == (
        422,
        {
            "errors": [
                {
                    "code": "10004",
                    "title": "Missing required parameter",
                    "detail": f"The '{missing}' parameter is required and cannot be blank.",
                    "source": {"pointer": f"/{missing}"},
                }
            ]
        },
    )


async def test_all_that_is_wrong_is_named_at_once(calls: Calls, one: Caller) -> None:
    calls.commands.begin_call(CALL)

    answer = await one.act("record_start", format="ogg", max_length=-1, client_state="#", record="yes")

    assert {each["source"]["pointer"]: each["code"] for each in answer.json()["errors"]} == {
        "/format": "10015",
        "/channels": "10004",
        "/max_length": "10015",
        "/client_state": "10015",
        "/record": "10015",
    }


WRONG_OF_OTHERS: list[tuple[dict[str, Any], str, str]] = [
    ({"recording_id": "nope"}, "10006", "/recording_id"),
    ({"recording_id": "{0d6c8d5f-6f0b-4b0a-9c2f-5b0a7c1e9d42}"}, "10006", "/recording_id"),
    ({"recording_id": 7}, "10006", "/recording_id"),
    ({"client_state": "#"}, "10015", "/client_state"),
    ({"command_id": ""}, "10015", "/command_id"),
    ({"format": "wav"}, "10015", "/format"),
]


async def test_a_wrong_field_of_another_command_is_named(calls: Calls, one: Caller, subtests: pytest.Subtests) -> None:
    calls.commands.begin_call(CALL)
    await one.start()
    for (said, code, place), action in itertools.product(
        WRONG_OF_OTHERS, ["record_stop", "record_pause", "record_resume"]
    ):
        with subtests.test(f"{said!r:.80} {code!r:.80} {place!r:.80} {action!r:.80}"):
            answer = await one.act(action, **said)

            assert answer.status_code == 422
            (mistake,) = answer.json()["errors"]
            assert (mistake["code"], mistake["source"]) == (code, {"pointer": place})
            assert calls.commands.statuses() == ["ongoing"]


# ---- the page -------------------------------------------------------------------------------------------------------


def test_the_page_has_every_field_with_its_option_every_filter_and_every_error() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE))
    filters = {
        field.alias
        for query in (ListRecordings, ListDeliveries)
        for field in query.model_fields.values()
        if field.alias
    }

    assert {*told} >= {*RecordStart.model_fields}
    for name, field in StartOptions.model_fields.items():
        for mark in field.metadata:
            if hasattr(mark, "option"):
                assert f"`{mark.option}`" in told[name]
    assert {name for name in filters if f"`{name}`" not in PAGE} == set()
    assert {code: title for code, title in TITLES.items() if f"| `{code}` {title} |" not in PAGE} == {}
