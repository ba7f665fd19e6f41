"""The retention rule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from wavstream.model.options import RecordingOptions
from wavstream.model.recording import LegalHold, Recording, Status
from wavstream.retention.policy import expires_at, is_expired

STOP = datetime(2026, 8, 21, 12, 0, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("recording_hours", "app_hours", "hours"), [(1, 2, 1), (None, 2, 2), (1, None, 1), (None, None, 24)]
)
def test_the_nearest_rule_counts_from_the_stop(recording_hours: int | None, app_hours: int | None, hours: int) -> None:
    end = expires_at(STOP, recording_hours=recording_hours, app_hours=app_hours, server_hours=24)
    assert end == STOP + timedelta(hours=hours)


RECORDING = Recording(
    id="r1",
    app_id="default",
    session_id="s",
    status=Status.AVAILABLE,
    options=RecordingOptions(),
    object_key="r1.wav",
    file_name="r1.wav",
    created_at=STOP,
    expires_at=STOP + timedelta(hours=1),
)


def test_a_recording_expires_at_its_moment_and_not_before() -> None:
    moment = STOP + timedelta(hours=1)
    assert not is_expired(RECORDING, moment - timedelta(microseconds=1))
    assert is_expired(RECORDING, moment)


def test_a_recording_that_was_swept_is_expired_whatever_the_clock_says() -> None:
    assert is_expired(replace(RECORDING, status=Status.EXPIRED), STOP)


def test_a_recording_that_runs_does_not_expire() -> None:
    assert not is_expired(replace(RECORDING, status=Status.ONGOING, expires_at=None), STOP + timedelta(days=9999))


def test_a_recording_that_is_held_does_not_expire_and_one_that_was_swept_stays_gone() -> None:
    held = replace(RECORDING, hold=LegalHold("legal", "case 4711", STOP))
    assert not is_expired(held, STOP + timedelta(days=9999))
    assert is_expired(replace(held, status=Status.EXPIRED), STOP)
