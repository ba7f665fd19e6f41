"""Metrics and readiness of all workers, whichever is asked."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.workers import workers
from wavstream.metrics import Across, Histogram, Metrics, MetricSample, MetricType
from wavstream.service.readiness import Readiness
from wavstream.service.worker_metrics import WorkerMetrics
from wavstream.workers.boundary import Alone
from wavstream.workers.neighbours import Workers
from wavstream.workers.shared_counts import SharedCounts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several workers are for Linux")


class Part:
    """What one process counts."""

    def __init__(self, sessions: int = 0, failed: int = 0) -> None:
        self.sessions, self.failed = sessions, failed
        self.failing = 0
        self.free_bytes = 1_000
        self.times = Histogram((0.1, 1.0))
        self.metrics = Metrics()
        self.metrics.add(self.read)

    def read(self) -> Iterator[MetricSample | Metric]:
        yield MetricSample("wavstream_sessions", "Live sessions.", self.sessions)
        labels = {"status": "failed"}
        yield MetricSample("wavstream_recordings_total", "Ended.", self.failed, MetricType.COUNTER, labels)
        yield MetricSample("wavstream_journal_failing", "1 while it fails.", self.failing, across=Across.MAX)
        yield MetricSample("wavstream_disk_free_bytes", "Free.", self.free_bytes, across=Across.MIN)
        yield self.times.family("wavstream_recording_finish_seconds", "Seconds.")


class Machine:
    """Workers with their metrics, over one table."""

    def __init__(self, boundaries: list[Workers], descriptor: int) -> None:
        self.boundaries = boundaries
        self.table = SharedCounts(descriptor)
        self.parts = [Part() for _ in boundaries]
        self.said = [self._begin(index) for index in range(len(boundaries))]

    def start_again(self, index: int) -> None:
        self.table.forget(index)
        self.parts[index] = Part()
        self.said[index] = self._begin(index)

    def _begin(self, index: int) -> WorkerMetrics:
        self.boundaries[index].shared = self.table
        return WorkerMetrics(self.parts[index].metrics, self.boundaries[index])

    def stop_answering(self, index: int) -> None:
        self.boundaries[index]._inbox.close()

    async def read(self, asked: int = 0) -> dict[str, float]:
        return values(await self.said[asked].text())


def values(text: bytes) -> dict[str, float]:
    """Return the value of each series, by its name with its labels, and check that none is there twice."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            series = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert series not in found
            found[series] = sample.value
    return found


@asynccontextmanager
async def machine(count: int, *, wait_s: float = 5.0) -> AsyncIterator[Machine]:
    descriptor = SharedCounts.create(count)
    try:
        async with workers(count, wait_s=wait_s) as boundaries:
            yield Machine(boundaries, descriptor)
    finally:
        os.close(descriptor)


async def test_one_process_tells_what_it_has_and_nothing_of_workers() -> None:
    part = Part(sessions=3)
    told = values(await WorkerMetrics(part.metrics, Alone()).text())
    assert told["wavstream_sessions"] == 3
    assert not [series for series in told if "worker" in series]


async def test_every_worker_tells_the_sum_of_all_under_the_usual_names_and_each_one_beside_it() -> None:
    async with machine(3) as server:
        for number, part in enumerate(server.parts):
            part.sessions, part.failed, part.free_bytes = number + 1, 10 * number, 500 - number
            part.times.observe(0.5 * number)
        server.parts[1].failing = 1
        for asked in range(3):
            told = await server.read(asked)
            assert told["wavstream_sessions"] == 6
            assert told["wavstream_recordings_total{status=failed}"] == 30
            assert told["wavstream_journal_failing"] == 1
            assert told["wavstream_disk_free_bytes"] == 498
            assert told["wavstream_recording_finish_seconds_count"] == 3
            assert told["wavstream_recording_finish_seconds_bucket{le=1.0}"] == 3
            assert [told[f"wavstream_worker_sessions{{worker={each}}}"] for each in range(3)] == [1, 2, 3]
            assert told["wavstream_worker_recordings_total{status=failed,worker=2}"] == 20
            assert told["wavstream_worker_recording_finish_seconds_bucket{le=0.1,worker=0}"] == 1
            assert [told[f"wavstream_worker_up{{worker={each}}}"] for each in range(3)] == [1, 1, 1]
            assert "process_cpu_seconds_total" in told


async def test_the_latest_loop_of_all_is_the_servers() -> None:
    async with machine(2) as server:
        for part, late_s in zip(server.parts, (0.001, 0.2), strict=True):
            part.metrics.loop_delay.observe(late_s)
        told = await server.read()
        assert told["wavstream_loop_delay_seconds{quantile=0.99}"] == 0.2
        assert told["wavstream_loop_delay_seconds_count"] == 2
        assert told["wavstream_worker_loop_delay_seconds{quantile=0.99,worker=0}"] == 0.001


async def test_a_counter_of_the_server_never_falls_while_a_worker_is_away_or_started_again() -> None:
    async with machine(2, wait_s=0.05) as server:
        server.parts[0].failed, server.parts[1].failed = 5, 7
        assert (await server.read())["wavstream_recordings_total{status=failed}"] == 12
        ask_all = server.boundaries[0].ask_all

        async def nobody(*_: Any, **__: Any) -> dict[int, bytes]:
            return {}

        server.boundaries[0].ask_all = nobody  # type: ignore[method-assign]
        server.parts[0].failed = 6
        told = await server.read()
        assert told["wavstream_recordings_total{status=failed}"] == 13
        assert told["wavstream_worker_up{worker=1}"] == 0
        assert "wavstream_worker_sessions{worker=1}" not in told

        server.boundaries[0].ask_all = ask_all  # type: ignore[method-assign]
        server.start_again(1)
        server.parts[1].failed = 2
        told = await server.read()
        assert told["wavstream_recordings_total{status=failed}"] == 15
        assert told["wavstream_worker_recordings_total{status=failed,worker=1}"] == 2
        assert told["wavstream_worker_restarts_total{worker=1}"] == 1


async def test_when_worker_0_is_started_again_the_server_counts_from_0_as_a_process_does() -> None:
    async with machine(2) as server:
        server.parts[0].failed, server.parts[1].failed = 100, 100
        server.parts[1].sessions = 4
        await server.read()
        server.start_again(0)
        told = await server.read()
        assert told["wavstream_recordings_total{status=failed}"] == 0
        assert told["wavstream_sessions"] == 4
        server.parts[1].failed += 3
        assert (await server.read(1))["wavstream_recordings_total{status=failed}"] == 3


async def test_while_worker_0_is_away_no_sum_is_told_rather_than_a_wrong_one() -> None:
    async with machine(2, wait_s=0.05) as server:
        server.stop_answering(0)
        server.parts[1].sessions = 4
        told = await server.read(1)
        assert "wavstream_sessions" not in told
        assert told["wavstream_worker_sessions{worker=1}"] == 4
        assert [told[f"wavstream_worker_up{{worker={each}}}"] for each in range(2)] == [0, 1]


async def test_readiness_says_of_which_worker_something_is_wrong_and_what_all_say_once() -> None:
    async with workers(3, wait_s=0.2) as boundaries:
        reasons: list[list[str]] = [[], [], []]

        def own(index: int) -> Readiness:
            async def read() -> list[str]:
                return reasons[index]

            return Readiness(boundaries[index], read)

        parts = [own(index) for index in range(3)]
        assert [await each.not_ready_because() for each in parts] == [[], [], []]
        for index in range(3):
            reasons[index].append("the disk is full")
        reasons[1].append("it is too late")
        expected = ["the disk is full", "worker 1: it is too late"]
        assert [await each.not_ready_because() for each in parts] == [expected] * 3
        boundaries[2]._inbox.close()
        assert await parts[0].not_ready_because() == [
            *expected,
            "worker 2 does not answer: it is being started",
        ]
