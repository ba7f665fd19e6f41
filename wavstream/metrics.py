"""The server's metrics, read for Prometheus at the moment of a scrape and not before.

The rooms keep plain integers of their own and hand a callable to ``Metrics.add``, which is called once a scrape.
Nothing on the path of a frame touches this module.
"""

from __future__ import annotations

import bisect
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

WINDOW_S = 60.0
"""Seconds of the past that the quantiles of the loop's delay are taken over."""
_MAX_OBSERVATIONS = 60_000  # one a millisecond of the window; a bound, not a size


class MetricType(Enum):
    """The type of a metric, as the family that Prometheus has for it."""

    COUNTER = CounterMetricFamily
    """Only grows until the process ends; the name ends in ``_total``."""
    GAUGE = GaugeMetricFamily
    """Goes up and down."""


class Across(Enum):
    """What a metric of several workers is, of what each of them has."""

    SUM = "sum"
    MAX = "max"
    """Where one is enough to know it: something fails, or is late."""
    MIN = "min"
    """Where all share it, or the nearest to its end counts."""

    def of(self, values: Sequence[float]) -> float:
        """Return the one value."""
        return sum(values) if self is Across.SUM else max(values) if self is Across.MAX else min(values)


_OF_PROCESSES = {
    "process_start_time_seconds": Across.MAX,
    "process_open_fds": Across.MAX,  # each process has its own
    "process_max_fds": Across.MIN,
}


@dataclass(frozen=True, slots=True)
class MetricSample:
    """One value at the moment of a scrape. Samples of one name have the same type, help and label names."""

    name: str
    """The metric's name with its unit, such as ``wavstream_journal_queued_bytes``."""
    help: str
    """One sentence."""
    value: float
    type: MetricType = MetricType.GAUGE
    labels: Mapping[str, str] = field(default_factory=dict)
    """Few and from fixed sets: never an id of a session or a recording."""
    across: Across = Across.SUM
    """Of several workers; quantiles are always the largest."""


class Histogram:
    """How many of the seconds that were observed lay within each of some bounds, since the process began."""

    def __init__(self, bounds_s: Sequence[float], labels: Sequence[str] = ()) -> None:
        """``bounds_s`` rise; ``labels`` are names, whose values are few and from fixed sets."""
        self._bounds_s = tuple(bounds_s)
        self._labels = tuple(labels)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums_s: dict[tuple[str, ...], float] = {}
        if not labels:  # one without labels is there from the start, so that its rate is known from the first on
            self._counts[()], self._sums_s[()] = [0] * (len(self._bounds_s) + 1), 0.0

    def observe(self, seconds: float, *labels: str) -> None:
        """Add an observation; a negative one, of a clock that was set back, counts as 0. Costs about 1 us."""
        seconds = max(seconds, 0.0)
        if labels not in self._counts:
            self._counts[labels], self._sums_s[labels] = [0] * (len(self._bounds_s) + 1), 0.0
        self._counts[labels][bisect.bisect_left(self._bounds_s, seconds)] += 1
        self._sums_s[labels] += seconds

    def family(self, name: str, text: str) -> Metric:
        """Return it as Prometheus has it, under this name and help."""
        family = HistogramMetricFamily(name, text, labels=self._labels)
        for labels, counts in list(self._counts.items()):
            total, buckets = 0, []
            for bound, count in zip((*map(str, self._bounds_s), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric(labels, buckets, self._sums_s[labels])
        return family


class LoopDelay:
    """How late the event loop runs what was due: quantiles over the last minute, observed by its timers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: deque[tuple[float, float]] = deque(maxlen=_MAX_OBSERVATIONS)
        self._count = 0
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Add an observation: a timer ran ``seconds`` after it was due; early counts as in time. Costs about 1 us."""
        late_s = max(seconds, 0.0)
        now = self._clock()
        recent = self._recent
        recent.append((now, late_s))
        while recent[0][0] < now - WINDOW_S:
            recent.popleft()
        self._count += 1
        self._sum_s += late_s

    def quantiles(self) -> dict[float, float]:
        """Return the delays in seconds that 50 %, 99 % and 100 % of the last minute stay within; empty without any."""
        since = self._clock() - WINDOW_S
        delays = sorted(late_s for at, late_s in self._recent if at >= since)
        return {share: delays[math.ceil(share * len(delays)) - 1] for share in (0.5, 0.99, 1.0)} if delays else {}

    def collect(self) -> Iterator[Metric]:
        """Yield the summary ``wavstream_loop_delay_seconds``."""
        name = "wavstream_loop_delay_seconds"
        summary = Metric(name, "Lateness of the event loop's timers, over the last minute.", "summary")
        for share, delay_s in self.quantiles().items():
            summary.add_sample(name, {"quantile": f"{share:g}"}, delay_s)
        summary.add_sample(f"{name}_count", {}, self._count)
        summary.add_sample(f"{name}_sum", {}, self._sum_s)
        yield summary


class Metrics:
    """The registry of one server: metrics of its process, its loop and its rooms."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.process = os.urandom(8).hex()
        """Whose metrics these are: a worker that was started again counts from 0."""
        self.across: dict[str, Across] = dict(_OF_PROCESSES)
        """By family, where it is no sum; what was not collected yet is not there."""
        self.loop_delay = LoopDelay()
        ProcessCollector(registry=self.registry)
        self.registry.register(self.loop_delay)

    def add(self, read: Callable[[], Iterable[MetricSample | Metric]]) -> None:
        """Call ``read`` at every scrape, on the thread that answers the scrape."""
        self.registry.register(_Collector(read, self.across))


class _Collector:
    def __init__(self, read: Callable[[], Iterable[MetricSample | Metric]], across: dict[str, Across]) -> None:
        self._read = read
        self._across = across

    def collect(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self._read():
            if isinstance(sample, Metric):
                yield sample
                continue
            if sample.name not in families:
                family = sample.type.value(sample.name, sample.help, labels=sorted(sample.labels))
                families[sample.name] = family
                if sample.across is not Across.SUM:
                    self._across[family.name] = sample.across
            families[sample.name].add_metric([text for _, text in sorted(sample.labels.items())], sample.value)
        yield from families.values()
