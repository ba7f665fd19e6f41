"""Object keys from the operator's template."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from wavstream.errors import OperatorError
from wavstream.storage.object_keys import KeyTemplate, copy_key, is_object_key, sidecar_key

START = datetime(2026, 8, 21, 23, 59, 59, tzinfo=UTC)


def test_the_default_template_sorts_files_by_app_and_day() -> None:
    key = KeyTemplate().key(app_id="shop", session_id="call 77", recording_id="0d6c", created_at=START, ext="wav")
    assert key == "shop/2026-08-21/0d6c.wav"
    assert sidecar_key(key) == "shop/2026-08-21/0d6c.wav.json"
    assert copy_key(key, "mp3") == "shop/2026-08-21/0d6c.wav.mp3-copy"


def test_a_template_may_be_flat_and_repeat_a_field() -> None:
    template = KeyTemplate("calls/{ext}/{recording_id}_{app}.{ext}")
    assert (
        template.key(app_id="a", session_id="s", recording_id="1", created_at=START, ext="wav") == "calls/wav/1_a.wav"
    )


@pytest.mark.parametrize(
    ("session_id", "name"),
    [
        ("7f0e-1b.x", "7f0e-1b.x"),
        ("../etc", None),
        (".hidden", None),
        ("a/b", None),
        ("Ä", None),
        ("\udc80", None),
        ("x" * 129, None),
    ],
)
def test_the_id_of_a_session_is_in_a_key_only_if_it_is_a_plain_name(session_id: str, name: str | None) -> None:
    template = KeyTemplate("{year}/{month}/{day}/{session}-{recording_id}.{ext}")
    key = template.key(app_id="a", session_id=session_id, recording_id="1", created_at=START, ext="mp3")
    assert is_object_key(key)
    folder, _, rest = key.rpartition("/")
    assert folder == "2026/08/21"
    assert rest == f"{name}-1.mp3" if name else len(rest) == len("call--1.mp3") + 32


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
