"""What a fold keeps while it waits: a server has one for each call, so a view of what was read is dear."""

from __future__ import annotations

import tracemalloc

from tests.support.folding import noise
from tests.support.journal_script import Script
from wavstream.journal.records import items
from wavstream.rendering.fold import Fold

SECOND_BYTES = 2 * 16_000


def test_legs_of_which_one_is_ahead_keep_no_more_in_memory_than_the_file_trails() -> None:
    script = Script().start()
    script.open("a").send(noise(20.0), at_s=0.001)
    script.open("b").send(noise(20.0), at_s=0.011)
    # Each comes from a read of its own: two canonical points in each.
    batches = script.payloads(clock_s=0.45)
    parts = [b"".join(batches[at : at + 12]) for at in range(1, len(batches), 12)]
    fold = Fold(script.recording_id)
    for part in (batches[0], *parts[:5]):
        fold.feed(items(part))

    tracemalloc.start()
    try:
        for part in parts[5:8]:
            fold.feed(items(bytes(bytearray(part))))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held_bytes < (2 + 1) * SECOND_BYTES
