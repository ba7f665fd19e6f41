"""What a recording is called before anything of it is on a disk, and whether the disk has room for it."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.sessions import OPTIONS
from tests.support.waiting import until
from wavstream.errors import LimitReached
from wavstream.model.call import CallFacts
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.service.disk_watch import why_short
from wavstream.sessions.admission import FULL_BYTES, DiskReserve, NewRecordings
from wavstream.storage.object_keys import KeyTemplate

NAMED = replace(OPTIONS, file_name="offer")


class Maker:
    """Asks for recordings at 1,800,000,000 s and later."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0
        self._make = NewRecordings(
            keys=KeyTemplate(), reserve=DiskReserve(Path(), 0), now_us=lambda: int(self.now_s * 1e6)
        )

    def name(self, session_id: str = "call-77", options: RecordingOptions = OPTIONS, app_id: str = "default") -> str:
        return self._make.make(app_id=app_id, session_id=session_id, options=options).file_name


def test_recordings_of_one_session_and_second_have_names_of_their_own_in_any_format() -> None:
    maker = Maker()
    mp3 = replace(OPTIONS, format=FileFormat.MP3)

    names = [maker.name(), maker.name(options=mp3), maker.name(), maker.name("call-78"), maker.name(app_id="other")]
    maker.now_s += 1
    names.append(maker.name())

    assert names == [
        "call-77-1800000000.wav",
        "call-77-1800000000-2.mp3",
        "call-77-1800000000-3.wav",
        "call-78-1800000000.wav",
        "call-77-1800000000.wav",
        "call-77-1800000001.wav",
    ]


def test_recordings_that_were_asked_to_be_called_the_same_are_not() -> None:
    maker = Maker()
    assert [maker.name(f"call-{number}", NAMED) for number in range(2)] == [
        "offer-1800000000.wav",
        "offer-1800000000-2.wav",
    ]


async def test_a_disk_that_was_not_looked_at_has_room(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path, 1 << 62)

    reserve.check()

    assert reserve.has_room(1 << 62)


async def test_a_disk_below_its_reserve_refuses_until_there_is_room_again(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path, 1 << 62)
    await reserve.look()
    with pytest.raises(LimitReached, match=r"MB left, less than limits\.min_free_bytes") as refusal:
        reserve.check()
    assert refusal.value.retry_after_s > 0

    reserve.min_free_bytes = 0
    reserve.check()
    assert reserve.refusal() is None

    assert reserve.has_room(1)
    assert not reserve.has_room(1 << 62)


async def test_a_disk_that_is_as_good_as_full_refuses_whatever_the_setting_says(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path, 0)
    reserve.free_bytes = FULL_BYTES - 1
    assert str(why_short(reserve)).startswith("the disk is full (8388 kB left): ")
    with pytest.raises(LimitReached, match="the disk is full"):
        reserve.check()


@pytest.mark.parametrize("folder", ["spool", "journal"])
async def test_a_disk_that_takes_no_writes_refuses_until_it_does_again(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, journal = tmp_path / "spool", tmp_path / "journal"
    spool.mkdir()
    journal.mkdir()
    reserve, asked = DiskReserve(spool, 0, beside=[journal]), os.statvfs

    def read_only(path: Path) -> os.statvfs_result:
        found = asked(path)
        flags = found.f_flag | (os.ST_RDONLY if path.name == folder else 0)
        return os.statvfs_result((*found[:8], flags, *found[9:]))

    with capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr(os, "statvfs", read_only)
            for _ in range(3):
                await reserve.look()
        with pytest.raises(LimitReached, match="disk is read-only"):
            reserve.check()
        assert "read-only" in str(why_short(reserve))

        await reserve.look()
        reserve.check()
    assert why_short(reserve) is None
    at = str(tmp_path / folder)
    assert [(line["event"], line["path"]) for line in logs] == [("disk_read_only", at), ("disk_takes_writes", at)]


async def test_a_disk_that_takes_no_writes_and_does_not_say_so_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    ours.write_bytes(b"as it is")
    reserve = DiskReserve(tmp_path, 0, beside=[ours, tmp_path / "gone"])
    await reserve.look()
    assert (reserve.read_only, ours.read_bytes()) == (None, b"as it is")

    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    await reserve.look()
    assert reserve.read_only == ours


async def test_a_disk_that_cannot_be_asked_is_told_of_once_and_what_was_known_last_counts(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path / "gone", 1 << 62)
    with capture_logs() as logs:
        watching = asyncio.create_task(reserve.watch(every_s=0.0))
        await until(lambda: reserve.failures >= 3)
        watching.cancel()

    reserve.check()

    assert [(line["event"], line["log_level"]) for line in logs] == [("spool_disk_unknown", "warning")]


def test_a_key_is_made_of_what_is_known_of_the_call_when_its_recording_is_asked_for() -> None:
    keys = KeyTemplate("{from}/{metadata.customer}/{recording_id}.{ext}")
    maker = NewRecordings(keys=keys, reserve=DiskReserve(Path(), 0), now_us=lambda: 0)
    options = replace(OPTIONS, metadata={"customer": "acme"})

    early = maker.make(app_id="shop", session_id="s", options=options)
    late = maker.make(app_id="shop", session_id="s", options=options, call=CallFacts(from_="+4930123456"))

    assert early.object_key == f"none/acme/{early.id}.wav"
    assert (late.object_key, late.call.from_) == (f"plus4930123456/acme/{late.id}.wav", "+4930123456")
