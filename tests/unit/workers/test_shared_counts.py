"""The table of counts that workers share, in one process and in several."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from wavstream.workers.shared_counts import MOST_WORKERS, SharedCounts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several workers are for Linux")


@pytest.fixture
def descriptor() -> Iterator[int]:
    made = SharedCounts.create(2, rows=128, now_s=0.0)
    yield made
    os.close(made)


def at(now_s: float, descriptor: int, worker: int) -> SharedCounts:
    return SharedCounts(descriptor, worker, clock=lambda: now_s)


def test_each_worker_reads_what_the_others_wrote_and_not_its_own(descriptor: int) -> None:
    first, second = (SharedCounts(descriptor, worker).of("streams") for worker in range(2))
    first.set("shop", 3)
    assert (first.others("shop"), second.others("shop"), second.others("other")) == (0, 3, 0)
    second.set("shop", 4)
    first.set("shop", 0)
    assert (first.others("shop"), second.others("shop")) == (4, 0)


def test_a_count_with_an_end_is_nothing_after_it(descriptor: int) -> None:
    at(10.0, descriptor, 0).of("wrong_keys", by_address=True).set("192.0.2.1", 20, left_s=60.0)
    others = [
        at(now_s, descriptor, 1).of("wrong_keys", by_address=True).others_and_left_s("192.0.2.1")
        for now_s in (10.0, 69.0, 70.0)
    ]
    assert others == [(20, 60.0), (20, 1.0), (0, 0.0)]


def test_the_counts_of_a_worker_that_died_are_gone_and_those_of_the_others_stay(descriptor: int) -> None:
    tables = [SharedCounts(descriptor, worker) for worker in range(2)]
    for table in tables:
        for key in map(str, range(20)):
            table.of("streams").set(key, 2)
    supervisor = SharedCounts(descriptor)
    supervisor.forget(1)
    assert [table.of("streams").others("7") for table in tables] == [0, 2]
    assert [tables[0].restarts(worker) for worker in range(2)] == [0, 1]
    again = SharedCounts(descriptor, 1)
    again.of("streams").set("7", 1)
    assert tables[0].of("streams").others("7") == 1


def test_rows_are_used_again_when_nobody_has_anything_in_them(descriptor: int) -> None:
    now_s = [1.0]
    table, other = (SharedCounts(descriptor, worker, clock=lambda: now_s[0]) for worker in range(2))
    counts, seen = table.of("wrong_keys", by_address=True), other.of("wrong_keys", by_address=True)
    for number in range(2_000):  # of 128 rows, a few at a time
        now_s[0] += 1.0
        counts.set(str(number), 1, left_s=2.0)
        assert seen.others(str(number)) == 1, number


def test_where_there_is_no_row_a_worker_counts_alone_and_what_others_have_stays(descriptor: int) -> None:
    table, other = (SharedCounts(descriptor, worker) for worker in range(2))
    counts, seen = table.of("waiting", by_address=True), other.of("waiting", by_address=True)
    for number in range(1_000):
        counts.set(str(number), 1)
    has_row = [seen.others(str(number)) for number in range(1_000)]
    assert sum(has_row) == 128
    kept = has_row.index(1)
    seen.set(str(kept), 5)
    assert counts.others(str(kept)) == 5
    table.of("streams").set("shop", 3)  # strangers take no row of an app
    assert other.of("streams").others("shop") == 3


def test_a_worker_that_was_stopped_while_it_made_a_row_keeps_nobody(descriptor: int) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold_the_lock, args=(theirs, os.getpid(), descriptor))
    process.start()
    try:
        assert ours.recv() == "held"
        table, other = (SharedCounts(descriptor, worker) for worker in range(2))
        table.of("streams").set("shop", 3)
        assert other.of("streams").others("shop") == 0  # it counts alone
        ours.send("let go")
        process.join()
        SharedCounts(descriptor, 0).of("streams").set("shop", 4)
        assert other.of("streams").others("shop") == 4
    finally:
        process.kill()
        process.join()


def _hold_the_lock(told: Connection, owner: int, descriptor: int) -> None:
    import fcntl

    table = os.open(f"/proc/{owner}/fd/{descriptor}", os.O_RDWR)
    fcntl.lockf(table, fcntl.LOCK_EX)
    told.send("held")
    told.recv()


def test_processes_that_take_places_at_once_never_have_more_than_there_are(descriptor: int) -> None:
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(2)]
    processes = [
        context.Process(target=_take_and_leave, args=(theirs, os.getpid(), descriptor, worker))
        for worker, (_, theirs) in enumerate(pipes)
    ]
    try:
        for process in processes:
            process.start()
        for ours, _ in pipes:
            assert ours.recv() == "ready"
        for ours, _ in pipes:
            ours.send("go")
        outcomes = [ours.recv() for ours, _ in pipes]
        assert all(most == 1 for most, _ in outcomes), outcomes
        assert all(taken for _, taken in outcomes), outcomes
    finally:
        for process in processes:
            process.kill()
            process.join()


def _take_and_leave(told: Connection, owner: int, descriptor: int, worker: int) -> None:
    """Take the only place again and again; tell how many had it at most while this did, and how often it did."""
    table = SharedCounts(os.open(f"/proc/{owner}/fd/{descriptor}", os.O_RDWR), worker)
    counts, held = table.of("places"), table.of("held")
    told.send("ready")
    told.recv()
    most, taken = 0, 0
    for _ in range(50_000):
        counts.set("shop", 1)
        if not counts.others("shop"):
            taken += 1
            # Whoever looks now sees us, so nobody else keeps a place; the other may have counted, and be about to
            # take it back, so what counts is who has kept one.
            held.set("", 1)
            most = max(most, 1 + held.others(""))
            held.set("", 0)
        counts.set("shop", 0)
    told.send((most, taken))


def test_a_table_is_for_some_workers_and_nothing_else_is_taken_for_one() -> None:
    for workers in (0, MOST_WORKERS + 1):
        with pytest.raises(ValueError, match="workers"):
            SharedCounts.create(workers)
    other = os.memfd_create("other")
    os.truncate(other, 8192)
    with pytest.raises(ValueError, match="table"):
        SharedCounts(other)
    os.close(other)
