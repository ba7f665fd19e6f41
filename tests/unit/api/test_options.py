"""The options of a recording: what a request may say, and where it is found again."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter, ValidationError

from tests.unit.api.conftest import ApiHarness
from tests.unit.api.fakes import APP_OPTIONS
from wavstream.model.options import (
    ChannelLayout,
    FileFormat,
    Language,
    PauseBehavior,
    RecordingOptions,
    TrackChoice,
    Trim,
)
from wavstream.model.recording import EndReason, Integrity, Receipt, Recording, Status
from wavstream.storage.sidecar import read_sidecar

# For every option a value that the server's options do not have.
OTHER: dict[str, Any] = {
    "format": FileFormat.MP3,
    "channels": ChannelLayout.MONO,
    "track": TrackChoice.INBOUND,
    "sample_rate": 16_000,
    "max_length_s": 3_600,
    "initial_timeout_s": 3.5,
    "end_silence_timeout_s": 5.0,
    "sensitivity": 60.0,
    "trim": Trim.SILENCE,
    "beep": True,
    "terminators": "#*",
    "pause_behavior": PauseBehavior.SKIP,
    "transcription": True,
    "transcription_language": "en-US",
    "file_name": "support",
    "client_state": "aGk=",
    "metadata": {"agent": "12"},
    "retention_hours": 48,
}


async def started(world: ApiHarness, client: httpx.AsyncClient, **said: Any) -> Recording:
    response = await client.post("/v1/recordings", json={"session_id": "call-77", **said})
    assert response.status_code == 201, response.text
    return world.commands.recordings[response.json()["id"]]


def test_the_table_of_other_values_covers_every_option() -> None:
    assert [field.name for field in fields(RecordingOptions)] == list(OTHER)


async def test_an_option_reaches_the_recording_and_comes_back_from_its_sidecar(
    world: ApiHarness, client: httpx.AsyncClient, subtests: pytest.Subtests
) -> None:
    for name in OTHER:
        with subtests.test(f"{name!r:.80}"):
            value = OTHER[name]

            recording = await started(world, client, **{name: value})

            assert recording.options == replace(APP_OPTIONS, **{name: value})
            assert type(getattr(recording.options, name)) is type(value)

            world.commands.put(made(recording))
            answer = await client.get(f"/v1/recordings/{recording.id}")
            restored = read_sidecar(answer.content, object_key=recording.object_key)

            if name == "file_name":
                assert answer.json()[name] == restored.file_name == f"{value}-1793527200.wav"  # the time is added to it
            else:
                assert answer.json()[name] == getattr(restored.options, name) == value


async def test_all_options_at_once_reach_the_recording(world: ApiHarness, client: httpx.AsyncClient) -> None:
    assert (await started(world, client, **OTHER)).options == RecordingOptions(**OTHER)


async def test_what_a_start_leaves_out_is_as_the_app_has_it_and_null_is_not_left_out(
    world: ApiHarness, client: httpx.AsyncClient
) -> None:
    assert (await started(world, client, beep=True)).options == replace(APP_OPTIONS, beep=True)
    assert (await started(world, client, sample_rate=None)).options == replace(APP_OPTIONS, sample_rate=None)
    async with world.client("key-two") as other:
        assert (await started(world, other)).options == RecordingOptions()


AT_ITS_BOUND = [
    ("sample_rate", 8_000),
    ("sample_rate", 48_000),
    ("max_length_s", 0),
    ("max_length_s", 14_400),
    ("max_length_s", 0.5),
    ("initial_timeout_s", 0),
    ("initial_timeout_s", 0.1),
    ("initial_timeout_s", 14_400),
    ("end_silence_timeout_s", 0),
    ("end_silence_timeout_s", 0.1),
    ("end_silence_timeout_s", 14_400.0),
    ("sensitivity", 0),
    ("sensitivity", 100),
    ("terminators", ""),
    ("terminators", "0123456789*#ABCD"),
    ("file_name", "x"),
    ("file_name", "x" * 40),
    ("client_state", ""),
    ("client_state", "A" * 4_096),
    ("metadata", {}),
    ("metadata", {str(number): "" for number in range(50)}),
    ("metadata", {"k": "v" * 8_191}),
    ("retention_hours", 1),
    ("retention_hours", 87_600),
]


async def test_a_value_at_its_bound_is_taken(
    world: ApiHarness, client: httpx.AsyncClient, subtests: pytest.Subtests
) -> None:
    for name, value in AT_ITS_BOUND:
        with subtests.test(f"{name!r:.80} {value!r:.80}"):
            assert getattr((await started(world, client, **{name: value})).options, name) == value


WRONG_FIELDS = [
    ("session_id", "", "must be 1 to 256 printable characters"),
    ("session_id", "x" * 257, "must be 1 to 256 printable characters"),
    ("session_id", "a\nb", "must be 1 to 256 printable characters"),
    ("session_id", 77, "must be text"),
    ("session_id", None, "must be text"),
    ("format", "ogg", "accepted: wav, mp3"),
    ("channels", "quad", "accepted: mono, stereo"),
    ("channels", 2, "accepted: mono, stereo"),
    ("channels", None, "accepted: mono, stereo"),
    ("track", "both_tracks", "accepted: both, inbound, outbound"),
    ("sample_rate", "8000", "must be a whole number, without a fraction"),
    ("sample_rate", 8000.0, "must be a whole number, without a fraction"),
    ("sample_rate", True, "must be a whole number, without a fraction"),
    ("sample_rate", 7_999, "must be greater than or equal to 8000"),
    ("sample_rate", 48_001, "must be less than or equal to 48000"),
    ("max_length_s", -1, "must be greater than or equal to 0"),
    ("max_length_s", 14_401, "must be less than or equal to 14400"),
    ("max_length_s", "1", "must be a number"),
    ("max_length_s", None, "must be a number"),
    ("initial_timeout_s", 0.099, "must be 0, or at least 0.1"),
    ("end_silence_timeout_s", 1e-9, "must be 0, or at least 0.1"),
    ("initial_timeout_s", -0.001, "must be greater than or equal to 0"),
    ("initial_timeout_s", 14_400.001, "must be less than or equal to 14400"),
    ("initial_timeout_s", "3", "must be a number"),
    ("initial_timeout_s", float("nan"), "must be a finite number"),
    ("end_silence_timeout_s", -0.001, "must be greater than or equal to 0"),
    ("end_silence_timeout_s", 14_400.001, "must be less than or equal to 14400"),
    ("end_silence_timeout_s", True, "must be a number"),
    ("end_silence_timeout_s", float("inf"), "must be a finite number"),
    ("sensitivity", -0.001, "must be greater than or equal to 0"),
    ("sensitivity", 100.001, "must be less than or equal to 100"),
    ("sensitivity", float("nan"), "must be a finite number"),
    ("sensitivity", "44", "must be a number"),
    ("trim", "both", "accepted: none, silence"),
    ("trim", True, "accepted: none, silence"),
    ("beep", "true", "must be true or false"),
    ("beep", 1, "must be true or false"),
    ("terminators", "E", "must be digits of 0-9 * # A-D, each at most once"),
    ("terminators", "a", "must be digits of 0-9 * # A-D, each at most once"),
    ("terminators", "1#1", "must be digits of 0-9 * # A-D, each at most once"),
    ("terminators", 5, "must be text"),
    ("terminators", None, "must be text"),
    ("pause_behavior", "mute", "accepted: skip, silence"),
    ("file_name", "", "must have at least 1 character"),
    ("file_name", "x" * 41, "must have at most 40 characters"),
    ("file_name", "../up", "must be printable characters without slashes"),
    ("file_name", "a\\b", "must be printable characters without slashes"),
    ("file_name", "a\x00b", "must be printable characters without slashes"),
    ("client_state", "not base64!", "must be base64"),
    ("client_state", "aGk", "must be base64"),
    ("client_state", "aG\nk=", "must be base64"),
    ("client_state", "A" * 4_100, "must have at most 4096 characters"),
    ("metadata", [], "must be an object"),
    ("metadata", {"": "x"}, "must have at least 1 character"),
    ("metadata", {str(n): "" for n in range(51)}, "must have at most 50 items"),
    ("metadata", {"k": "\u00e9" * 4_096}, "must not be larger than 8192 bytes in all"),
    ("retention_hours", 0, "must be greater than or equal to 1"),
    ("retention_hours", 87_601, "must be less than or equal to 87600"),
    ("retention_hours", 1.5, "must be a whole number, without a fraction"),
    ("max_length", 3, "is not a field of this request"),
]


async def test_a_start_with_a_wrong_field_names_it_and_starts_nothing(
    world: ApiHarness, client: httpx.AsyncClient, subtests: pytest.Subtests
) -> None:
    for name, value, detail in WRONG_FIELDS:
        with subtests.test(f"{name!r:.80} {value!r:.80} {detail!r:.80}"):
            # Written by hand, since the client's own JSON has no NaN.
            content = json.dumps({"session_id": "call-77", name: value}, ensure_ascii=False)
            response = await client.post(
                "/v1/recordings", content=content, headers={"Content-Type": "application/json"}
            )
            body = response.json()
            assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
            assert body["title"] == "Unprocessable Content"
            (error,) = body["errors"]
            assert error["pointer"] in (f"/{name}", f"/{name}/")
            assert error["detail"].startswith(detail)
            assert not world.commands.recordings


async def test_a_start_with_several_wrong_fields_names_them_all(client: httpx.AsyncClient) -> None:
    wrong = {"format": "ogg", "sample_rate": "8000", "metadata": {"a/b~c": 1}, "file_name": "/", "beeps": True}
    response = await client.post("/v1/recordings", json=wrong, headers={"Idempotency-Key": "x" * 256})
    assert response.status_code == 422
    assert {error["pointer"] for error in response.json()["errors"]} == {
        "/session_id",
        "/format",
        "/sample_rate",
        "/metadata/a~1b~0c",
        "/file_name",
        "/beeps",
        "Idempotency-Key",
    }


def made(recording: Recording) -> Recording:
    """Return the recording with a file that is as its options ask."""
    rate, channels = recording.options.sample_rate or 8000, recording.options.file_channels
    return replace(
        recording,
        status=Status.AVAILABLE,
        end_reason=EndReason.STOPPED,
        ended_at=recording.created_at,
        expires_at=recording.created_at + timedelta(hours=1),
        receipt=Receipt(rate, channels, rate, "9f" * 32, 1000, integrity=Integrity(samples=rate * channels)),
    )


@pytest.mark.parametrize("text", ["en", "en-US", "auto_detect", "zh-Hans-CN", "a" * 64])
def test_a_language_is_a_tag_or_a_vendors_word(text: str) -> None:
    assert TypeAdapter(Language).validate_python(text) == text


@pytest.mark.parametrize("text", ["", "-", "en\0", "de\r\nX: y", "日本", "a" * 65, "en\n", "_x"])
def test_what_no_database_or_engine_would_take_for_a_language_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Language).validate_python(text)
