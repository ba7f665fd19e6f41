"""Who joins while a recording runs hears the file so far and what follows it, also where the file is behind."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.journal_script import T0_US, Script
from tests.support.journals import nothing
from tests.support.listened import CLOCK_S, a_call, listened, stalled
from tests.support.recordings import a_recording
from wavstream.journal.reader import JournalReader
from wavstream.journal.records import ClockRecord, Item
from wavstream.model.options import FileFormat, RecordingOptions
from wavstream.model.recording import Recording
from wavstream.recorder.render_job import RenderJob
from wavstream.rendering.timeline.clock import Patience

HZ = 8000


class Journal:
    """A reader that has one item at a time."""

    key = "0" * 32
    at_end = False

    def __init__(self, items: list[Item]) -> None:
        self.items = items

    def read(self, *, max_bytes: int) -> list[Item]:
        assert max_bytes
        return [self.items.pop(0)]

    def close(self) -> None:
        pass


def joined(script: Script, recording: Recording, folder: Path, *, at_s: float, before_s: float | None) -> bytes:
    """Return what somebody hears who joins then: the file so far, and what follows.

    ``before_s``: another one listened until then, from the start.
    """
    journal, so_far = Journal(script.items(clock_s=CLOCK_S)), b""
    job = RenderJob(
        recording,
        reader=cast("JournalReader", journal),
        spool=folder / "spool",
        patience=Patience(),
        on_automatic_end=nothing,
    )
    heard: list[bytes] = []
    job.set_listener(None if before_s is None else nothing)
    is_there = False
    while journal.items:
        item = journal.items[0]
        now_s = (item.arrival_us - T0_US) / 1e6 if isinstance(item, ClockRecord) else 0.0
        if before_s is not None and not is_there and now_s >= before_s:
            job.set_listener(None)
        if now_s >= at_s and not is_there:
            is_there = True
            snapshot = job.snapshot()
            assert snapshot is not None
            so_far = b"".join(snapshot.pieces(0))
            assert len(so_far) == snapshot.size_bytes
            job.set_listener(heard.append)
        job.advance()
    job.discard()
    return so_far + b"".join(heard)


JOINS = np.arange(0.5, 20, 1.3).tolist()


@pytest.mark.parametrize("file_format", FileFormat)
@pytest.mark.parametrize("came_s", [None, stalled(20.0, from_s=5.0, for_s=8.0)], ids=["clean", "stall"])
def test_who_joins_hears_the_file_so_far_and_what_follows_without_a_seam(
    file_format: FileFormat, came_s: NDArray[np.float64] | None, tmp_path: Path
) -> None:
    options = RecordingOptions(format=file_format)
    script = a_call(options, came_s=came_s).stop(20.0)
    recording, is_mp3 = a_recording("rec-1", options), file_format is FileFormat.MP3
    first = listened(script).heard
    for at_s in JOINS:
        for before_s in (None, at_s, max(0.0, at_s - 1.4)):
            heard = joined(script, recording, tmp_path, at_s=at_s, before_s=before_s)
            assert len(heard) == len(first) == 20 * HZ * 4
            # Leg a, which is always on time, has no seam.
            own, wanted = (np.frombuffer(sound, "<i2")[::2].astype(int) for sound in (heard, first))
            if is_mp3:
                late = round((at_s + 1) * HZ)
                assert np.array_equal(own[late:], wanted[late:])
                assert np.corrcoef(own[HZ:], wanted[HZ:])[0, 1] > 0.8
            else:
                assert np.array_equal(own, wanted)
