"""Object keys from the operator's template."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.support.recordings import a_recording
from wavstream.errors import OperatorError
from wavstream.model.call import CallFacts
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.model.recording import Recording
from wavstream.storage.object_keys import KeyTemplate, copy_key, is_object_key, plain_name, sidecar_key

START = datetime(2026, 8, 21, 23, 59, 59, tzinfo=UTC)


def asked_for(session_id: str = "call 77", recording_id: str = "0d6c", **more: str) -> Recording:
    """Return a recording of a call from +4930123456, with metadata."""
    return replace(
        a_recording(recording_id, RecordingOptions(metadata=more), app_id="shop", session_id=session_id),
        created_at=START,
        call=CallFacts(from_="+4930123456", direction="inbound"),
    )


def test_the_default_template_sorts_files_by_app_and_day() -> None:
    key = KeyTemplate().key(asked_for())
    assert key == "shop/2026-08-21/0d6c.wav"
    assert sidecar_key(key) == "shop/2026-08-21/0d6c.wav.json"
    assert copy_key(key, "mp3") == "shop/2026-08-21/0d6c.wav.mp3-copy"


def test_a_template_may_be_flat_and_repeat_a_field() -> None:
    assert KeyTemplate("calls/{ext}/{recording_id}_{app}.{ext}").key(asked_for()) == "calls/wav/0d6c_shop.wav"


def test_a_key_has_what_is_known_of_the_call_and_a_word_for_what_is_not() -> None:
    template = KeyTemplate(
        "{metadata.customer}/{metadata.order}/{date}/{hour}/{direction}-{from}-{to}/{session_id}/{recording_id}.{ext}"
    )

    key = template.key(asked_for("7f0e-1b.x", customer="Acme_3"))

    assert key == "Acme_3/none/2026-08-21/23/inbound-plus4930123456-none/7f0e-1b.x/0d6c.wav"


@pytest.mark.parametrize(
    ("value", "begin"),
    [
        ("../etc", "etc--"),
        (".hidden", "hidden--"),
        ("a/b", "a-b--"),
        ("-rf", "rf--"),
        ("sip:alice@example.com;x=1", "sip-alice-example.com-x-1--"),
        ("M\xfcller & S\xf6hne", "M-ller-S-hne--"),
        ("\u65e5\u672c", "value--"),
        ("..", "value--"),
        ("a\x00b\n", "a-b--"),
        ("\udc80", "value--"),
        ("x" * 65, "x" * 40 + "--"),
        ("none", "none--"),
        ("plus49", "plus49--"),
        ("a--b", "a-b--"),
    ],
)
def test_what_is_no_plain_name_is_told_by_what_can_be_read_of_it_and_a_digest(value: str, begin: str) -> None:
    name = plain_name(value)

    assert name.startswith(begin)
    assert len(name) == len(begin) + 16


@pytest.mark.parametrize("value", ["x" * 64, "_7", "Acme.Corp", "00493012", "4930123456", "CA0f-1"])
def test_a_plain_name_is_in_a_key_as_it_is(value: str) -> None:
    assert plain_name(value) == value


@pytest.mark.parametrize(
    ("session_id", "name"),
    [
        ("7f0e-1b.x", "7f0e-1b.x"),
        ("none", "none"),
        ("../etc", None),
        (".hidden", None),
        ("a/b", None),
        ("\xc4", None),
        ("\udc80", None),
        ("x" * 129, None),
    ],
)
def test_the_older_field_has_the_id_of_a_session_as_it_is_or_a_digest_alone(session_id: str, name: str | None) -> None:
    key = KeyTemplate("{year}/{month}/{day}/{session}-{recording_id}.{ext}").key(asked_for(session_id, "1"))
    assert is_object_key(key)
    folder, _, rest = key.rpartition("/")
    assert folder == "2026/08/21"
    assert rest == f"{name}-1.wav" if name else len(rest) == len("call--1.wav") + 32


def test_the_extension_is_that_of_the_file() -> None:
    recording = replace(asked_for(), options=RecordingOptions(format=FileFormat.MP3))
    assert KeyTemplate("{recording_id}.{ext}").key(recording) == "0d6c.mp3"


@pytest.mark.parametrize(
    ("text", "is_personal"),
    [
        ("{app}/{date}/{hour}/{direction}/{recording_id}.{ext}", False),
        ("{session}/{recording_id}.{ext}", True),
        ("{session_id}/{recording_id}.{ext}", True),
        ("{from}/{recording_id}.{ext}", True),
        ("{to}/{recording_id}.{ext}", True),
        ("{metadata.customer}/{recording_id}.{ext}", True),
    ],
)
def test_a_template_knows_whether_its_keys_tell_of_the_call(text: str, is_personal: bool) -> None:
    assert KeyTemplate(text).is_personal is is_personal


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{app}/{call}/{recording_id}.{ext}", "{call}"),
        ("{app}/{date}.{ext}", "must have {recording_id}"),
        ("{recording_id}", "must end with"),
        ("{recording_id}.{ext}.json", "must end with"),
        ("/{recording_id}.{ext}", "relative path"),
        ("../{recording_id}.{ext}", "relative path"),
        ("a/../{recording_id}.{ext}", "relative path"),
        ("a/./{recording_id}.{ext}", "relative path"),
        ("a//{recording_id}.{ext}", "relative path"),
        (".hidden/{recording_id}.{ext}", "relative path"),
        ("a\\{recording_id}.{ext}", "relative path"),
        ("a b/{recording_id}.{ext}", "relative path"),
        ("ä/{recording_id}.{ext}", "relative path"),
        ("{recording_id}{.{ext}", "relative path"),
        ("{}{recording_id}.{ext}", "{}"),
        ("{metadata.}/{recording_id}.{ext}", "{metadata.}"),
        ("{metadata}/{recording_id}.{ext}", "{metadata.NAME}"),
        ("{session_id}-{from}-{to}-{direction}-{recording_id}.{ext}", "296 bytes"),
        ("x" * 250 + "/{recording_id}.{ext}", "250 bytes"),
        ("/".join(["{metadata.a}"] * 12) + "/{recording_id}.{ext}", "leave fields out"),
    ],
)
def test_a_template_that_is_no_good_names_the_setting_and_the_reason(text: str, reason: str) -> None:
    with pytest.raises(OperatorError) as raised:
        KeyTemplate(text)
    assert "WAVSTREAM_OBJECT_KEY" in str(raised.value)
    assert reason in str(raised.value)


@pytest.mark.parametrize("text", ["", "/etc/passwd", "..", "a/../../b", "a/", "a\n", "a\x00b", "a/.b", "x" * 1025])
def test_what_could_leave_the_root_is_no_object_key(text: str) -> None:
    assert not is_object_key(text)
