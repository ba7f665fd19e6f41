"""A small journal, damaged at every byte: what is lost is the batch that was hit, and all else is in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.journals import FRAME, a_started_recording, a_writer, append, call, noise
from tests.support.records import frame_record
from tests.unit.journal.support import KEY, Flat, flat, head_bytes, packed
from wavstream.journal.events import Digit
from wavstream.journal.reader import JournalReader
from wavstream.journal.records import clock_record, event_record
from wavstream.journal.segments import segment_path
from wavstream.model.recording import EndReason
from wavstream.recovery.journal_summary import read_patiently, read_summary
from wavstream.rendering.fold import Fold

Damage = Callable[[bytes, int], bytes]

DAMAGES: dict[str, Damage] = {
    "flipped": lambda whole, at: whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :],
    "zeroed": lambda whole, at: whole[:at] + b"\0" + whole[at + 1 :],
    "removed": lambda whole, at: whole[:at] + whole[at + 1 :],
    "inserted": lambda whole, at: whole[:at] + b"W" + whole[at:],
    "cut": lambda whole, at: whole[:at],
}


def a_frame(number: int) -> bytes:
    return frame_record(track=0, arrival_us=100 + number, position=number, payload=bytes([number]) * 3)


def segments(version: int) -> list[list[tuple[int, bytes]]]:
    """Return what the segments hold, as the writer makes them: batches with their numbers."""
    event = event_record(101, Digit(stream=1, digit="1"))
    first = [a_frame(0), event, a_frame(2) + clock_record(102), a_frame(3)]
    second = [a_frame(4), a_frame(5)]
    if version == 1:
        return [[*enumerate(first)], [*enumerate(second)]]
    numbered = [*enumerate(first)]
    return [[*numbered[:3], numbered[1], numbered[3]], [*enumerate(second, 4)]]


def rows_of(payload: bytes, folder: Path) -> list[Flat]:
    path = segment_path(folder, KEY, 1)
    path.write_bytes(head_bytes(1) + packed(0, payload))
    reader = JournalReader(folder, KEY)
    rows = flat(reader.read())
    reader.close()
    path.unlink()
    return rows


def read_dead(folder: Path) -> tuple[list[Flat], JournalReader]:
    reader = JournalReader(folder, KEY)
    rows = [row for _, found in read_patiently(reader) for row in flat(found)]
    reader.end()
    reader.close()
    return rows, reader


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("damage", [*DAMAGES])
def test_every_damaged_byte_costs_its_batch_and_no_more(tmp_path: Path, version: int, damage: str) -> None:
    layout = segments(version)
    payloads = {(segment, number): payload for segment, each in enumerate(layout) for number, payload in each}
    rows = {place: rows_of(payload, tmp_path) for place, payload in payloads.items()}
    heads = [head_bytes(number, version=version) for number in (1, 2)]
    whole = [
        head + b"".join(packed(number, payload, segment=at + 1, version=version) for number, payload in each)
        for at, (head, each) in enumerate(zip(heads, layout, strict=True))
    ]
    for hit_segment in range(2):
        ends = [(-1, len(heads[hit_segment]))]
        for number, payload in layout[hit_segment]:
            size = len(packed(number, payload, segment=hit_segment + 1, version=version))
            ends.append((number, ends[-1][1] + size))
        copied = {number for number, _ in layout[hit_segment] if len([n for n, _ in ends if n == number]) > 1}
        for at in range(len(whole[hit_segment])):
            hit = next(number for number, end in ends if at < end)
            for number, content in enumerate(whole):
                is_hit = number == hit_segment
                segment_path(tmp_path, KEY, number + 1).write_bytes(DAMAGES[damage](content, at) if is_hit else content)
            lost = {(hit_segment, hit)} - {(hit_segment, number) for number in copied}
            if damage == "cut":
                whole_ones = {number for number, end in ends if end <= at}
                lost = {place for place in payloads if place[0] == hit_segment and place[1] not in whole_ones}
            wanted = [row for place in sorted(payloads) if place not in lost for row in rows[place]]
            everything = [row for place in sorted(payloads) for row in rows[place]]

            found, reader = read_dead(tmp_path)

            kept = [row for row in found if row[0] != "damage"]
            assert kept in (wanted, everything), (at, hit)
            # What is cut off between two batches is only missed where a number says so.
            is_told = damage != "cut" or (version == 2 and hit_segment == 0)
            if kept != everything and is_told:
                assert reader.problems, (at, hit)
                # A last batch that is too short for what its head says is what a crash leaves.
                if hit != layout[hit_segment][-1][0] or (version == 2 and damage in ("flipped", "zeroed")):
                    assert reader.is_damaged, (at, hit)


def test_a_reader_that_follows_waits_for_every_half_written_tail_and_misses_nothing(tmp_path: Path) -> None:
    (first, _) = segments(2)
    whole = head_bytes(1) + b"".join(packed(number, payload) for number, payload in first)
    path = segment_path(tmp_path, KEY, 1)
    path.write_bytes(b"")
    reader = JournalReader(tmp_path, KEY)
    found: list[Flat] = []
    for at in range(len(whole)):
        with path.open("ab") as file:
            file.write(whole[at : at + 1])
        found += flat(reader.read())
        assert reader.at_end
    reader.close()
    assert len(found) == 5
    assert (reader.problems, reader.is_damaged) == ([], False)


# ---- and its file --------------------------------------------------------------------------------------------------


def places(path: Path) -> Iterator[tuple[str, int]]:
    """Yield damages over the whole file, each kind at other bytes; they are many, and a fold is slow."""
    size = path.stat().st_size
    kinds = ["flipped", "zeroed", "removed", "inserted"]
    for number, at in enumerate(range(0, size, 41)):
        yield kinds[number % len(kinds)], at


def test_the_file_of_a_damaged_journal_lacks_what_was_hit_and_has_the_rest_where_it_was(tmp_path: Path) -> None:
    recording, samples = a_started_recording(), noise(0.6)
    rows = call(recording, samples=samples, stop=EndReason.STOPPED)
    key = leave_in_batches(tmp_path, rows)
    path = segment_path(tmp_path, key, 1)
    whole = path.read_bytes()

    for kind, at in places(path):
        path.write_bytes(DAMAGES[kind](whole, at))
        summary = read_summary(tmp_path, key)
        assert list(summary.recordings) == [recording.id]
        fold = Fold(recording.id)
        reader = JournalReader(tmp_path, key)
        audio = b"".join(fold.feed(found) for _, found in read_patiently(reader))
        reader.close()

        assert fold.complete, (kind, at, len(whole), summary.problems)
        file = np.frombuffer(audio, "<i2").reshape(-1, fold.account().channels)[:, 0]
        frames = [*range(0, len(samples), FRAME)]
        missing = [at for at in frames if not np.array_equal(file[at : at + FRAME], samples[at : at + FRAME])]
        assert len(missing) <= 4
        assert all(not file[at : at + FRAME].any() for at in missing)
        if missing and missing[-1] != frames[-1]:
            (gap,) = fold.account().integrity.gaps
            assert (gap.cause, gap.start_ms, gap.length_ms) == ("damage", missing[0] // 8, len(missing) * FRAME // 8)


def leave_in_batches(folder: Path, rows: list[bytes]) -> str:
    """Write a journal of one segment, in batches of four records."""
    writer = a_writer(folder)
    journal = writer.open(key=KEY, app_id="default", session_id="call-77")
    for at in range(0, len(rows), 4):
        append(journal, rows[at : at + 4])
        writer.submit([journal])
    writer.close(journal)
    writer.stop()
    return journal.key
