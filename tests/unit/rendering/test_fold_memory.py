"""What a fold keeps while it waits: a server has one for each call, so a view of what was read is dear."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Sequence

from tests.support.folding import noise
from tests.support.journal_script import Script
from wavstream.rendering.fold import Fold

SECOND_BYTES = 2 * 16_000


def test_legs_of_which_one_is_ahead_keep_no_more_in_memory_than_the_file_trails() -> None:
    script = Script().start()
    script.open("a").send(noise(20.0), at_s=0.001)
    script.open("b").send(noise(20.0), at_s=0.011)
    # Copies, as each comes from a read of its own: two canonical points in each.
    parts = [pickle.dumps(part) for part in in_parts(script.items(clock_s=0.45), clocks=4)]
    fold = Fold(script.recording_id)
    for part in parts[:5]:
        fold.feed(pickle.loads(part))

    tracemalloc.start()
    try:
        for part in parts[5:8]:
            fold.feed(pickle.loads(part))
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held_bytes < (2 + 1) * SECOND_BYTES


def in_parts(items: Sequence[object], *, clocks: int) -> list[list[object]]:
    parts: list[list[object]] = [[]]
    for item in items:
        parts[-1].append(item)
        if sum(type(each).__name__ == "ClockRecord" for each in parts[-1]) == clocks:
            parts.append([])
    return parts
