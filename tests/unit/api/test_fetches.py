"""The requests for one file are one line of the log, told when nobody asks for it any more."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from tests.support.recordings import a_recording
from wavstream.api import fetches as module
from wavstream.api.fetches import Fetches


async def test_the_ranges_of_a_file_are_told_together_and_its_formats_apart() -> None:
    fetches, row = Fetches(quiet_s=0.02), a_recording()
    with capture_logs() as logs:
        for _ in range(30):
            with fetches.fetching(row, "wav") as sent:
                sent(1_000)
                sent(24)
        with fetches.fetching(row, "mp3") as sent:
            sent(7)
        async with asyncio.timeout(30):
            while len(logs) < 2:
                await asyncio.sleep(0.005)
    assert [(line["event"], line["recording_id"], line["app_id"]) for line in logs] == [
        ("recording_fetched", row.id, row.app_id)
    ] * 2
    assert [(line["format"], line["requests"], line["sent_bytes"]) for line in logs] == [
        ("wav", 30, 30_720),
        ("mp3", 1, 7),
    ]


async def test_what_is_not_told_is_told_at_the_end_and_what_goes_on_is_counted_on() -> None:
    fetches, row = Fetches(), a_recording()
    with capture_logs() as logs, fetches.fetching(row, "wav") as sent:
        sent(5)
        fetches.end()
        sent(6)
        fetches.end()
    assert [(line["requests"], line["sent_bytes"]) for line in logs] == [(1, 5), (0, 6)]


async def test_so_many_files_are_kept_and_the_first_is_told_early() -> None:
    fetches = Fetches()
    with capture_logs() as logs:
        for number in range(module.MOST + 3):
            with fetches.fetching(a_recording(), f"{number}"):
                pass
    assert [line["format"] for line in logs] == ["0", "1", "2"]
    fetches.end()
