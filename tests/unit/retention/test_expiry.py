"""When a recording that has stopped expires."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.unit.retention.test_app_hours import Catalog
from tests.unit.retention.test_policy import RECORDING, STOP
from wavstream.model.options import RecordingOptions
from wavstream.retention.app_hours import AppHours
from wavstream.retention.expiry import Expiry

STOPPED = replace(RECORDING, ended_at=STOP, expires_at=None)


def expiry(*, kept_elsewhere: bool = False) -> Expiry:
    return Expiry(AppHours(Catalog(), lambda: 0.0), server_hours=24, kept_elsewhere=kept_elsewhere)


async def test_the_recordings_own_hours_count_before_its_apps_and_those_before_the_servers() -> None:
    own = replace(STOPPED, options=RecordingOptions(retention_hours=5))
    stopped = [own, STOPPED, replace(STOPPED, app_id="gone")]
    assert [await expiry().of(each) for each in stopped] == [STOP + timedelta(hours=hours) for hours in (5, 48, 24)]


async def test_what_another_store_serves_never_expires() -> None:
    own = replace(STOPPED, options=RecordingOptions(retention_hours=5))
    assert await expiry(kept_elsewhere=True).of(own) is None
