"""The metrics of all workers in one answer, the same whichever worker is asked.

1. A series of today's name is that of the whole server: the sum of all workers, or their maximum or minimum where a sum
   says nothing (``metrics.Across``). So what is drawn and alerted of a server that is one process stays right.
2. Beside it stands that of each worker, under a name of its own: ``wavstream_worker_sessions{worker="1"}`` is a part of
   ``wavstream_sessions``. No sum over a name counts anything twice.
3. A counter of the server never falls. What a worker that died had counted is carried on, and counts while it is away.
   So one worker makes the sums, worker 0, and the others ask it. When it is started again it begins anew, from 0, as
   every process does: what the others have counted until then is taken off.
4. While worker 0 is away, only what rule 2 has is told: no sum at all rather than a wrong one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from wavstream.metrics import Across, Metrics
from wavstream.workers.boundary import Boundary, WorkerUnavailable

_ONE, _ALL = "metrics", "metrics_of_all"
_ONE_WAIT_S = 2.0
_ALL_WAIT_S = 4.0
_OF_WORKER = "wavstream_worker_"
_ADDED = ("counter", "histogram", "summary")
"""Types whose samples only grow."""

_Key = tuple[str, tuple[tuple[str, str], ...]]


class _Sample(msgspec.Struct, array_like=True, frozen=True):
    name: str
    labels: dict[str, str]
    value: float

    @property
    def key(self) -> _Key:
        return self.name, tuple(sorted(self.labels.items()))


class _Family(msgspec.Struct, array_like=True, frozen=True):
    name: str
    type: str
    help: str
    samples: list[_Sample]


class _Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """The metrics of one worker at one moment."""

    process: str
    """Another one for each process that had the worker's place."""
    families: list[_Family]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Snapshot).decode


class WorkerMetrics:
    """Answers ``/metrics``. Lives on the event loop; sums and text are made beside it."""

    def __init__(self, metrics: Metrics, boundary: Boundary) -> None:
        """Answer other workers too, from now on."""
        self._metrics = metrics
        self._boundary = boundary
        shared = boundary.shared
        self._totals = _Totals(metrics.across, begins_anew=shared is not None and shared.restarts(0) > 0)
        self._turn = asyncio.Lock()
        boundary.answers(_ONE, self._answer_one)
        boundary.answers(_ALL, self._answer_all)

    async def text(self) -> bytes:
        """Return what Prometheus reads."""
        if self._boundary.is_alone:
            return generate_latest(self._metrics.registry)
        if self._boundary.index == 0:
            return await self._answer_all(b"")
        try:
            return await self._boundary.ask(0, _ALL, wait_s=_ALL_WAIT_S)
        except WorkerUnavailable:  # rule 4
            return await asyncio.to_thread(self._write, await self._snapshots(), with_totals=False)

    async def _answer_one(self, _question: bytes) -> bytes:
        return _encode(self._snapshot())

    async def _answer_all(self, _question: bytes) -> bytes:
        async with self._turn:
            return await asyncio.to_thread(self._write, await self._snapshots(), with_totals=True)

    async def _snapshots(self) -> dict[int, _Snapshot | bytes]:
        """Return what each worker has, by worker; of others not read yet."""
        others = await self._boundary.ask_all(_ONE, wait_s=_ONE_WAIT_S)
        return {**others, self._boundary.index: self._snapshot()}

    def _snapshot(self) -> _Snapshot:
        families = [
            _Family(
                family.name,
                family.type,
                family.documentation,
                [_Sample(sample.name, dict(sample.labels), sample.value) for sample in family.samples],
            )
            for family in self._metrics.registry.collect()
        ]
        return _Snapshot(self._metrics.process, families)

    def _write(self, said: Mapping[int, _Snapshot | bytes], *, with_totals: bool) -> bytes:
        """Return the text. Runs on a thread, one at a time."""
        found = {
            worker: _decode(snapshot) if isinstance(snapshot, bytes) else snapshot
            for worker, snapshot in sorted(said.items())
        }
        families = [*self._of_workers(found)]
        if with_totals:
            families = [*self._totals.of(found), *families]
        registry = CollectorRegistry()
        registry.register(_Families(families))
        return generate_latest(registry)

    def _of_workers(self, found: Mapping[int, _Snapshot]) -> Iterator[Metric]:
        """Yield the families of single workers (rule 2)."""
        shared, count = self._boundary.shared, len(self._boundary.others) + 1
        up = GaugeMetricFamily("wavstream_worker_up", "1 while the worker answers.", labels=["worker"])
        text = "Times that the worker was started again."
        again = CounterMetricFamily("wavstream_worker_restarts_total", text, labels=["worker"])
        for worker in range(count):
            up.add_metric([str(worker)], float(worker in found))
            again.add_metric([str(worker)], 0 if shared is None else shared.restarts(worker))
        yield from (up, again)
        families: dict[str, Metric] = {}
        for worker, snapshot in found.items():
            for family in snapshot.families:
                own = families.setdefault(family.name, Metric(_of_worker(family.name), family.help, family.type))
                for sample in family.samples:
                    own.add_sample(_of_worker(sample.name), {"worker": str(worker), **sample.labels}, sample.value)
        yield from families.values()


class _Totals:
    """What the server has counted since it, or worker 0, began (rules 1 and 3)."""

    def __init__(self, across: Mapping[str, Across], *, begins_anew: bool) -> None:
        self._across = across
        self._begins_anew = begins_anew
        self._processes: dict[int, str] = {}
        self._newest: dict[int, Counter[_Key]] = {}
        """What each worker's process has counted, as far as was seen."""
        self._carried: Counter[_Key] = Counter()
        """What those before it had; less than 0: what was counted before we began."""
        self._sums: dict[str, dict[_Key, _Sample]] = {}
        """Everything that was ever counted, by family."""

    def of(self, found: Mapping[int, _Snapshot]) -> list[Metric]:
        families: dict[str, _Family] = {}
        gauges: dict[str, dict[_Key, list[_Sample]]] = {}
        for worker, snapshot in found.items():
            self._take_process(worker, snapshot)
            for family in snapshot.families:
                families.setdefault(family.name, family)
                for sample in family.samples:
                    if self._grows(family, sample):
                        self._sums.setdefault(family.name, {})[sample.key] = sample
                        newest = self._newest[worker]
                        newest[sample.key] = max(newest[sample.key], sample.value)  # type: ignore[assignment]
                    else:
                        gauges.setdefault(family.name, {}).setdefault(sample.key, []).append(sample)
        return [self._family(family, gauges.get(name, {})) for name, family in families.items()]

    def _take_process(self, worker: int, snapshot: _Snapshot) -> None:
        before = self._processes.get(worker)
        if before == snapshot.process:
            return
        if before is not None:
            self._carried.update(self._newest[worker])
        elif self._begins_anew and worker:
            counted = (
                sample for family in snapshot.families for sample in family.samples if self._grows(family, sample)
            )
            self._carried.subtract({sample.key: sample.value for sample in counted})
        self._processes[worker], self._newest[worker] = snapshot.process, Counter()

    def _grows(self, family: _Family, sample: _Sample) -> bool:
        rule = self._across.get(family.name, Across.SUM)
        return rule is Across.SUM and family.type in _ADDED and "quantile" not in sample.labels

    def _family(self, family: _Family, gauges: Mapping[_Key, list[_Sample]]) -> Metric:
        metric = Metric(family.name, family.help, family.type)
        for key, samples in gauges.items():
            rule = Across.MAX if "quantile" in samples[0].labels else self._across.get(family.name, Across.SUM)
            metric.add_sample(key[0], samples[0].labels, rule.of([sample.value for sample in samples]))
        for key, sample in self._sums.get(family.name, {}).items():
            total = self._carried[key] + sum(newest[key] for newest in self._newest.values())
            metric.add_sample(key[0], sample.labels, total)
        return metric


class _Families:
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _of_worker(name: str) -> str:
    return f"{_OF_WORKER}{name.removeprefix('wavstream_')}"
