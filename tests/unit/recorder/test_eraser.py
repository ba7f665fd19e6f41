"""How long a damaged journal that was set aside is kept: as long as a recording of its session, or as its retention."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.erasing import an_eraser
from tests.support.journals import a_started_recording, call, leave
from tests.support.sessions import QuietRecorder
from wavstream.catalog.catalog import Catalog
from wavstream.journal.segments import segment_path
from wavstream.journal.set_aside import SetAside
from wavstream.model.recording import LegalHold, Recording, Status
from wavstream.recorder.eraser import Eraser
from wavstream.storage.local import LocalStorage

NOW = datetime.now(UTC)
"""Files are as old as the clock of the machine says."""
HOUR, DAY = timedelta(hours=1), timedelta(hours=24)


@pytest.fixture
def place(tmp_path: Path) -> SetAside:
    return SetAside(tmp_path / "journal")


@pytest.fixture
def eraser(catalog: Catalog, place: SetAside, tmp_path: Path) -> Eraser:
    return an_eraser(catalog, LocalStorage(tmp_path / "recordings"), QuietRecorder(), set_aside=place)


def with_aside(place: SetAside, recordings: Sequence[Recording], *hit: int) -> str:
    """Set the journal of a call aside, with these segments' headers damaged; its key."""
    rows = call(*recordings, length_s=0.2)
    key = leave(place.path.parent, rows[:3], rows[3:])
    for segment in hit:
        path = segment_path(place.path.parent, key, segment)
        path.write_bytes(b"?" + path.read_bytes()[1:])
    place.take_journal(key)
    return key


def two() -> tuple[Recording, Recording]:
    first, second = (replace(a_started_recording(), status=Status.AVAILABLE) for _ in range(2))
    return first, second


@pytest.mark.parametrize("hit", [(), (1,), (2,), (1, 2)], ids=["whole headers", "the first", "the last", "both"])
async def test_it_goes_with_the_last_recording_of_its_session(
    catalog: Catalog, place: SetAside, eraser: Eraser, hit: Sequence[int]
) -> None:
    first, second = two()
    with_aside(place, (first, second), *hit)
    left = []
    for recording in (first, second):
        await catalog.recordings.add(recording)
    for recording, status in ((first, Status.DELETED), (second, Status.EXPIRED)):
        await eraser.begin([recording], status, by="api key of default", now=NOW)
        await eraser.remove_set_aside(NOW)
        left.append(place.count)

    assert left == [2, 0]
    assert list(place.path.iterdir()) == []


HELD = LegalHold(by="legal", reason="case", since=NOW)
KEPT: dict[str, tuple[Recording, bool]] = {
    name: (replace(a_started_recording(), **fields), is_kept)  # type: ignore[arg-type]
    for name, (fields, is_kept) in {
        "runs": ({}, True),
        "is kept": ({"status": Status.AVAILABLE, "expires_at": NOW + HOUR}, True),
        "is kept for ever": ({"status": Status.AVAILABLE}, True),
        "failed, and is kept": ({"status": Status.FAILED, "expires_at": NOW + HOUR}, True),
        "failed, and is over": ({"status": Status.FAILED, "expires_at": NOW}, False),
        "is over, and held": ({"status": Status.AVAILABLE, "expires_at": NOW, "hold": HELD}, True),
        "is over, and not swept": ({"status": Status.AVAILABLE, "expires_at": NOW}, False),
        "was deleted before rows had aliases": ({"status": Status.DELETED}, False),
    }.items()
}


@pytest.mark.parametrize("what", [*KEPT])
async def test_it_is_there_as_long_as_a_recording_that(
    catalog: Catalog, place: SetAside, eraser: Eraser, what: str
) -> None:
    recording, is_kept = KEPT[what]
    with_aside(place, (recording,))
    await catalog.recordings.add(recording)

    await eraser.remove_set_aside(NOW)

    assert (place.count > 0) is is_kept


@pytest.mark.parametrize("is_known", [True, False], ids=["of no recording", "of no session"])
async def test_one_of_which_nothing_is_known_is_there_for_the_servers_retention(
    place: SetAside, eraser: Eraser, is_known: bool
) -> None:
    with_aside(place, ()) if is_known else with_aside(place, (), 1, 2)
    left = []
    for later in (HOUR, DAY + HOUR):
        await eraser.remove_set_aside(NOW + later)
        left.append(place.count)

    assert left == [2, 0]


async def test_another_apps_session_of_that_name_keeps_nothing_and_what_is_no_file_stays(
    catalog: Catalog, place: SetAside, eraser: Eraser
) -> None:
    (recording, _), other = two(), replace(a_started_recording(), app_id="other")
    with_aside(place, (recording,))
    os.mkfifo(place.path / f"{recording.id}-000009.wsj")
    for each in (recording, other):
        await catalog.recordings.add(each)

    await eraser.begin([recording], Status.DELETED, by="api key of default", now=NOW)
    await eraser.remove_set_aside(NOW)

    assert [path.name for path in place.path.iterdir()] == [f"{recording.id}-000009.wsj"]
