from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from tests.support.records import frame_record, frames_record
from tests.unit.journal.support import KEY, flat, frames, head_bytes, packed, put, record, segment_bytes
from wavstream.journal import records
from wavstream.journal.batches import BATCH_1, MAGIC_1, batch, tag_of
from wavstream.journal.frame_run import FrameRun, owned
from wavstream.journal.reader import TRIES, JournalReader, read_header
from wavstream.journal.records import VERSION, BrokenSegment, UnknownVersion, items, withheld_record
from wavstream.journal.segments import Position, delete_segments, segment_path, segments_of


def two(first: int) -> bytes:
    return record(first) + record(first + 1)


def read_all(reader: JournalReader, *, max_bytes: int = 1 << 20) -> list[tuple[object, ...]]:
    rows = some = flat(reader.read(max_bytes=max_bytes))
    while some or not reader.at_end:
        some = flat(reader.read(max_bytes=max_bytes))
        rows += some
    return rows


def make_odd(path: Path, odd: str) -> None:
    """Make something that is no file."""
    if odd == "fifo":
        os.mkfifo(path)
    elif odd == "folder":
        path.mkdir()
    elif odd == "link":
        path.symlink_to(path.with_name("elsewhere"))
        path.with_name("elsewhere").write_bytes(segment_bytes(2, [two(8)], first=1))
    else:
        with socket.socket(socket.AF_UNIX) as made:
            os.chdir(path.parent)
            made.bind(path.name)


def test_a_journal_is_read_in_order_across_its_segments(tmp_path: Path) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0), two(2)]))
    put(tmp_path, 2, segment_bytes(2, [two(4)], first=2))
    reader = JournalReader(tmp_path, KEY)
    assert flat(reader.read()) == frames(range(6))
    assert reader.at_end
    assert reader.problems == []
    assert reader.unread_bytes == 0


def test_a_tail_torn_at_any_byte_of_the_last_batch_costs_that_batch_alone(tmp_path: Path) -> None:
    whole = segment_bytes(1, [two(0), two(2)])
    kept = len(segment_bytes(1, [two(0)]))
    for size in range(kept, len(whole)):
        put(tmp_path, 1, whole[:size])
        reader = JournalReader(tmp_path, KEY)
        assert read_all(reader) == frames(range(2))
        assert reader.unread_bytes == size - kept
        reader.close()


def test_a_batch_that_is_seen_half_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    whole = segment_bytes(1, [two(0), two(2)])
    for size in range(len(whole)):
        path = put(tmp_path, 1, whole[:size])
        reader = JournalReader(tmp_path, KEY)
        rows = read_all(reader)
        path.write_bytes(whole)
        rows += read_all(reader)
        assert rows == frames(range(4))
        assert reader.problems == []
        reader.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_flipped_byte_anywhere_in_a_batch_costs_that_batch_alone(tmp_path: Path, version: int) -> None:
    whole = segment_bytes(1, [two(0), two(2), two(4)], version=version)
    start = len(segment_bytes(1, [two(0)], version=version))
    put(tmp_path, 2, segment_bytes(2, [two(6)], first=3, version=version))
    for place in range(start, len(segment_bytes(1, [two(0), two(2)], version=version))):
        put(tmp_path, 1, whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        reader = JournalReader(tmp_path, KEY)
        rows = read_all(reader)
        if version == 1 and start + 4 <= place < start + 8:  # its number, which nothing checks
            assert rows == frames(range(8))
        else:
            assert rows == [*frames([0, 1]), ("damage", 1, 4), *frames([4, 5, 6, 7])]
            assert reader.problems == [f"segment 1: 1 batches are missing, from {start} on"]
            assert reader.is_damaged
        reader.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_flipped_byte_in_a_header_costs_nothing(tmp_path: Path, version: int) -> None:
    whole = segment_bytes(1, [two(0), two(2)], version=version)
    for place in range(len(head_bytes(1, version=version))):
        put(tmp_path, 1, whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        reader = JournalReader(tmp_path, KEY)
        assert read_all(reader) == frames(range(4))
        assert not reader.is_damaged
        reader.close()


def test_a_batch_with_events_is_read_from_its_copy_and_never_twice(tmp_path: Path) -> None:
    batches = [packed(0, two(0)), packed(1, two(2)), packed(2, two(4)), packed(1, two(2)), packed(3, two(6))]
    start = len(head_bytes(1)) + len(batches[0])
    whole = head_bytes(1) + b"".join(batches)
    for place in (len(whole) - 1, start, start + 30, start + len(batches[1]) - 1):
        put(tmp_path, 1, whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        reader = JournalReader(tmp_path, KEY)
        assert read_all(reader) == frames(range(6 if place == len(whole) - 1 else 8))
        assert not reader.is_damaged
        reader.close()


def test_what_was_written_again_after_a_failed_sync_is_read_once_whatever_is_left_of_the_first(tmp_path: Path) -> None:
    first = [packed(number, two(2 * number)) for number in range(4)]
    put(tmp_path, 2, segment_bytes(2, [two(2), two(4), two(6), two(8)], first=1))
    for lost in [(), (1,), (1, 2), (2,), (3,), (1, 2, 3)]:
        left = [bytes(len(each)) if number in lost else each for number, each in enumerate(first)]
        put(tmp_path, 1, head_bytes(1) + b"".join(left))
        reader = JournalReader(tmp_path, KEY)
        assert read_all(reader) == frames(range(10))
        assert not reader.is_damaged
        reader.close()


def test_a_batch_whose_copy_is_cut_short_is_lost_and_what_follows_is_not(tmp_path: Path) -> None:
    whole = head_bytes(1) + packed(0, two(0)) + bytes(40) + packed(2, two(4)) + packed(1, two(2))[:-1]
    put(tmp_path, 1, whole)
    put(tmp_path, 2, segment_bytes(2, [two(6)], first=3))
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader) == [*frames([0, 1]), ("damage", 1, 4), *frames([4, 5, 6, 7])]


def test_audio_that_looks_like_a_batch_is_none(tmp_path: Path) -> None:
    other = batch(1, two(8), tag=tag_of("another"), segment=1)
    wrong_place = packed(1, two(8), segment=2)
    older = packed(1, two(8), version=1)
    payload = frame_record(track=0, arrival_us=2, position=2, payload=other + wrong_place + older)
    damaged = packed(1, payload)[:-1] + b"?"
    put(tmp_path, 1, head_bytes(1) + packed(0, two(0)) + damaged + packed(2, two(4)))
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader) == [*frames([0, 1]), ("damage", 1, 4), *frames([4, 5])]


def test_what_was_written_between_a_read_and_a_look_into_the_folder_is_read_before_the_next_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    reader = JournalReader(tmp_path, KEY)
    assert flat(reader.read()) == frames([0, 1])

    def written_meanwhile(folder: Path, key: str) -> tuple[int, ...]:
        put(tmp_path, 1, segment_bytes(1, [two(0), two(2)]))
        put(tmp_path, 2, segment_bytes(2, [two(4)], first=2))
        return segments_of(folder, key)

    monkeypatch.setattr("wavstream.journal.reader.segments_of", written_meanwhile)
    assert flat(reader.read()) == frames([2, 3, 4, 5])
    assert not reader.is_damaged


def test_a_first_segment_that_is_made_while_the_folder_is_listed_is_read_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made_meanwhile(folder: Path, key: str) -> tuple[int, ...]:
        put(tmp_path, 1, segment_bytes(1, [two(0)]))
        put(tmp_path, 2, segment_bytes(2, [two(2)], first=1))
        return segments_of(folder, key)

    monkeypatch.setattr("wavstream.journal.reader.segments_of", made_meanwhile)
    assert flat(JournalReader(tmp_path, KEY).read()) == frames(range(4))


def test_a_segment_that_is_missing_is_damage_and_what_follows_is_read(tmp_path: Path) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader) == frames([0, 1])
    put(tmp_path, 4, segment_bytes(4, [two(6)], first=3))
    assert flat(reader.read()) == [("damage", 1, 6), *frames([6, 7])]
    assert reader.is_damaged


def test_what_the_disk_does_not_read_is_tried_again_and_then_counts_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = [record(number, size_bytes=5000) for number in range(6)]
    path = put(tmp_path, 1, segment_bytes(1, large))
    sector = range(12_288, 16_384)  # in the third and the fourth
    pread = os.pread

    def bad_sector(fd: int, size_bytes: int, offset: int) -> bytes:
        if offset < sector.stop and offset + size_bytes > sector.start:
            raise OSError(errno.EIO, "Input/output error")
        return pread(fd, size_bytes, offset)

    monkeypatch.setattr(os, "pread", bad_sector)
    reader = JournalReader(tmp_path, KEY)
    for _ in range(TRIES):
        with pytest.raises(OSError, match="Input/output"):
            reader.read()
    rows = read_all(reader)
    reader.close()

    assert path.exists()
    assert rows == [
        *frames([0, 1], size_bytes=5000), ("damage", 1, 4), *frames([4, 5], size_bytes=5000)
    ]  # fmt: skip


def test_a_segment_that_cannot_be_opened_is_tried_again_and_then_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    second = put(tmp_path, 2, segment_bytes(2, [two(2)], first=1))
    put(tmp_path, 3, segment_bytes(3, [two(4)], first=2))
    opened = os.open

    def denied(path: str | Path, flags: int, *more: int) -> int:
        if Path(path) == second:
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", denied)
    reader = JournalReader(tmp_path, KEY)
    assert flat(reader.read()) == frames([0, 1])
    for _ in range(TRIES - 1):
        with pytest.raises(PermissionError):
            reader.read()
    assert flat(reader.read()) == [("damage", 1, 4), *frames([4, 5])]
    assert reader.problems[0] == "segment 2 cannot be opened (Permission denied)"


@pytest.mark.parametrize("odd", ["fifo", "folder", "link", "socket"])
def test_what_is_no_file_is_passed_over_and_waited_for_by_nobody(tmp_path: Path, odd: str) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    put(tmp_path, 3, segment_bytes(3, [two(4)], first=2))
    make_odd(segment_path(tmp_path, KEY, 2), odd)
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader) == [*frames([0, 1]), ("damage", 1, 4), *frames([4, 5])]
    assert reader.is_damaged


def test_a_segment_whose_header_is_torn_is_waited_for_while_it_is_the_last(tmp_path: Path) -> None:
    for size in range(len(head_bytes(1))):
        path = put(tmp_path, 1, head_bytes(1)[:size])
        reader = JournalReader(tmp_path, KEY)
        assert reader.read() == []
        assert reader.at_end
        path.write_bytes(segment_bytes(1, [two(0)]))
        assert read_all(reader) == frames(range(2))
        reader.close()


def test_a_segment_whose_header_is_torn_is_passed_over_when_another_follows(tmp_path: Path) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    put(tmp_path, 2, head_bytes(2)[:-1])
    put(tmp_path, 3, segment_bytes(3, [two(2)], first=1))
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader) == frames(range(4))
    assert not reader.is_damaged
    assert reader.problems == ["segment 2 has no readable header and was passed over"]


def test_a_journal_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    reader = JournalReader(tmp_path, KEY)
    assert reader.read() == []
    assert reader.at_end
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    assert read_all(reader) == frames(range(2))


def test_each_read_gives_what_came_since_the_last(tmp_path: Path) -> None:
    path = put(tmp_path, 1, segment_bytes(1, [two(0)]))
    reader = JournalReader(tmp_path, KEY)
    assert flat(reader.read()) == frames([0, 1])
    assert flat(reader.read()) == []
    path.write_bytes(segment_bytes(1, [two(0), two(2)]))
    assert flat(reader.read()) == frames([2, 3])
    put(tmp_path, 2, segment_bytes(2, [two(4)], first=2))
    assert flat(reader.read()) == frames([4, 5])
    assert reader.at_end


def test_a_reader_may_start_where_another_stood_after_any_read(tmp_path: Path) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0), two(2)]))
    put(tmp_path, 2, segment_bytes(2, [two(4), two(6)], first=2))
    reader = JournalReader(tmp_path, KEY)
    seen: list[tuple[object, ...]] = []
    positions = [reader.position]
    while not reader.at_end:
        seen += flat(reader.read(max_bytes=1))
        positions.append(reader.position)
        successor = JournalReader(tmp_path, KEY, start=reader.position)
        assert seen + read_all(successor) == frames(range(8))
        assert successor.problems == []
        successor.close()
    assert positions == sorted(positions)
    assert len(set(positions)) == 5


@pytest.mark.parametrize("max_bytes", [1, 15, 16, 17, 60, 100, 1000])
def test_a_read_takes_about_what_it_may_and_even_a_batch_that_is_larger(tmp_path: Path, max_bytes: int) -> None:
    payloads = [record(number, size_bytes=40) for number in range(6)]
    payloads[3] += b"".join(record(number, size_bytes=40) for number in range(100, 140))
    put(tmp_path, 1, segment_bytes(1, payloads))
    largest_small = max_bytes // len(record(0, size_bytes=40)) + 1
    reader = JournalReader(tmp_path, KEY)

    rows: list[tuple[object, ...]] = []
    while not reader.at_end:
        some = flat(reader.read(max_bytes=max_bytes))
        assert len(some) <= max(largest_small, 41)
        rows += some

    assert rows == frames([0, 1, 2, 3, *range(100, 140), 4, 5], size_bytes=40)


def test_a_batch_that_claims_gigabytes_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lying = BATCH_1.pack(MAGIC_1, 0, 2**32 - 1, 0) + bytes(1000)
    put(tmp_path, 1, head_bytes(1, version=1) + lying)
    asked_bytes: list[int] = []

    def pread(fd: int, size_bytes: int, offset: int) -> bytes:
        asked_bytes.append(size_bytes)
        return real_pread(fd, size_bytes, offset)

    real_pread = os.pread
    monkeypatch.setattr(os, "pread", pread)
    assert read_all(JournalReader(tmp_path, KEY), max_bytes=100) == []
    assert max(asked_bytes) < 1 << 20


def test_a_start_in_a_segment_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    reader = JournalReader(tmp_path, KEY, start=Position(2))
    assert read_all(reader) == []
    put(tmp_path, 2, segment_bytes(2, [two(2)]))
    assert read_all(reader) == frames([2, 3])


def test_a_batch_that_claims_more_than_the_file_has_is_a_torn_tail_whatever_the_room(tmp_path: Path) -> None:
    lying = packed(1, record(9, size_bytes=400))[:-1]
    put(tmp_path, 1, segment_bytes(1, [two(0)]) + lying)
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader, max_bytes=32) == frames([0, 1])
    assert reader.unread_bytes == len(lying)


def test_a_journal_whose_first_segments_were_deleted_starts_with_the_first_that_is_left(tmp_path: Path) -> None:
    put(tmp_path, 4, segment_bytes(4, [two(0)]))
    put(tmp_path, 5, segment_bytes(5, [two(2)], first=1))
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader) == frames(range(4))
    assert reader.problems == []


def test_a_start_in_a_segment_that_was_deleted_is_a_problem_that_is_told(tmp_path: Path) -> None:
    put(tmp_path, 4, segment_bytes(4, [two(0)], first=7))
    reader = JournalReader(tmp_path, KEY, start=Position(2, 500, 3))
    assert read_all(reader) == [("damage", 0, 0), *frames(range(2))]
    assert reader.problems[0] == "segment 2, and all before segment 4, are gone"


def test_a_reader_goes_on_when_its_segment_and_the_next_are_deleted_under_it(tmp_path: Path) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader) == frames([0, 1])
    put(tmp_path, 3, segment_bytes(3, [two(2)], first=1))
    delete_segments(tmp_path, KEY, below=3)
    assert read_all(reader) == frames([2, 3])


def test_a_reader_that_was_closed_goes_on_where_it_stood(tmp_path: Path) -> None:
    path = put(tmp_path, 1, segment_bytes(1, [two(0)]))
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader) == frames([0, 1])
    reader.close()
    reader.close()
    path.write_bytes(segment_bytes(1, [two(0), two(2)]))
    assert read_all(reader) == frames([2, 3])


def test_the_header_is_that_of_the_first_segment_that_has_one(tmp_path: Path) -> None:
    put(tmp_path, 1, head_bytes(1)[:20])
    put(tmp_path, 2, head_bytes(2, session_id="call-78"))
    header = read_header(tmp_path, KEY)
    assert (header.key, header.session_id, header.segment) == (KEY, "call-78", 2)


def test_a_journal_without_a_readable_header_says_why(tmp_path: Path) -> None:
    with pytest.raises(BrokenSegment, match="no such journal"):
        read_header(tmp_path, KEY)
    segment_path(tmp_path, KEY, 1).write_bytes(b"RIFF" * 20)
    with pytest.raises(BrokenSegment, match="not a wavstream journal"):
        read_header(tmp_path, KEY)


def test_what_was_read_before_a_segment_cannot_be_opened_is_given_and_the_rest_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0), two(2)]))
    second = put(tmp_path, 2, segment_bytes(2, [two(4)], first=2))
    opened = os.open

    def no_descriptor_for_the_second(path: str | Path, flags: int, *more: int) -> int:
        if Path(path) == second:
            raise OSError(24, "Too many open files")
        return opened(path, flags, *more)

    reader = JournalReader(tmp_path, KEY)
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", no_descriptor_for_the_second)
        found = flat(reader.read())
        with pytest.raises(OSError, match="Too many"):
            reader.read()

    assert found == frames(range(4))
    assert read_all(reader) == frames(range(4, 6))


def test_a_run_that_is_kept_does_not_keep_all_that_was_read(tmp_path: Path) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    (run,) = JournalReader(tmp_path, KEY).read()
    assert isinstance(run, FrameRun)
    (own,) = owned([run])
    assert flat([own]) == frames(range(2))
    assert [type(payload) for payload in own.tracks[0].payload] == [bytes]
    assert owned([own])[0] is own


def test_runs_that_are_kept_and_are_alike_become_one(tmp_path: Path) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)]))
    (run,) = JournalReader(tmp_path, KEY).read()
    assert isinstance(run, FrameRun)
    (withheld,) = items(2 * withheld_record(track=0, arrival_us=5, position=7, samples=160))
    assert isinstance(withheld, FrameRun)
    kept = owned([run, run, withheld, withheld, run])
    assert [(len(each.tracks[0]), each.withheld) for each in kept] == [(4, False), (4, True), (2, False)]
    assert flat([kept[0]]) == [*frames(range(2)), *frames(range(2))]
    assert flat([kept[1]]) == [("withheld", 0, 5, 7, 160)] * 4


def test_frames_of_one_read_are_rows_that_say_how_many_they_are(tmp_path: Path) -> None:
    first = [frames_record(b"aa", b"bb", track=1, arrival_us=n, position=2 * n) for n in (0, 1)]
    other = frames_record(b"cc", b"dd", b"ee", track=1, arrival_us=2, position=4)
    alone = frame_record(track=1, arrival_us=3, position=7, payload=b"aabb")
    put(tmp_path, 1, segment_bytes(1, [b"".join([*first, other, alone])], version=VERSION))
    (run,) = JournalReader(tmp_path, KEY).read()
    assert isinstance(run, FrameRun)
    assert flat([run]) == flat(owned([run]))
    assert flat([run]) == [
        ("frames", 1, 0, 0, 2, b"aabb"),
        ("frames", 1, 1, 2, 2, b"aabb"),
        ("frames", 1, 2, 4, 3, b"ccddee"),
        ("frame", 1, 3, 7, b"aabb"),
    ]


def test_a_wavstream_from_before_records_of_several_frames_refuses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, 1, segment_bytes(1, [two(0)], version=VERSION))
    monkeypatch.setattr(records, "READABLE", (1, 2))
    with pytest.raises(UnknownVersion, match="journal version 3; this wavstream reads versions 1 and 2"):
        read_header(tmp_path, KEY)
    reader = JournalReader(tmp_path, KEY)
    assert read_all(reader) == []
    assert reader.is_damaged
