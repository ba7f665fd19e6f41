"""Metrics are read at the scrape; the loop's delay is a summary of the last minute."""

from __future__ import annotations

from prometheus_client import generate_latest

from wavstream.metrics import Histogram, LoopDelay, Metrics, MetricSample, MetricType


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def scraped(metrics: Metrics) -> list[str]:
    return generate_latest(metrics.registry).decode().splitlines()


def test_a_room_is_asked_at_every_scrape_and_never_in_between() -> None:
    frames = 0

    def read() -> list[MetricSample]:
        return [MetricSample("wavstream_frames_total", "Frames accepted.", frames, MetricType.COUNTER)]

    metrics = Metrics()
    metrics.add(read)
    assert "wavstream_frames_total 0.0" in scraped(metrics)

    frames = 7
    assert "wavstream_frames_total 7.0" in scraped(metrics)


def test_samples_of_one_name_are_one_family_with_a_line_for_each_label() -> None:
    metrics = Metrics()
    metrics.add(
        lambda: [
            MetricSample("wavstream_streams", "Live streams.", 3, labels={"dialect": "pcm", "app": "a"}),
            MetricSample("wavstream_streams", "Live streams.", 4, labels={"app": "b", "dialect": "pcm"}),
        ]
    )

    lines = [line for line in scraped(metrics) if "wavstream_streams" in line]

    assert lines == [
        "# HELP wavstream_streams Live streams.",
        "# TYPE wavstream_streams gauge",
        'wavstream_streams{app="a",dialect="pcm"} 3.0',
        'wavstream_streams{app="b",dialect="pcm"} 4.0',
    ]


def test_the_process_tells_its_processor_time_and_memory() -> None:
    lines = scraped(Metrics())

    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes"):
        assert any(float(line.split()[1]) > 0 for line in lines if line.startswith(f"{name} "))


def test_two_servers_in_one_process_keep_their_metrics_apart() -> None:
    one, other = Metrics(), Metrics()
    one.loop_delay.observe(0.25)

    assert 'wavstream_loop_delay_seconds{quantile="1"} 0.25' in scraped(one)
    assert "wavstream_loop_delay_seconds_count 0.0" in scraped(other)


def test_the_loops_delay_is_told_as_median_99_percent_and_largest() -> None:
    delay = LoopDelay(Clock())
    for milliseconds in range(1, 201):
        delay.observe(milliseconds / 1000)

    assert delay.quantiles() == {0.5: 0.1, 0.99: 0.198, 1.0: 0.2}


def test_a_delay_older_than_a_minute_is_forgotten_with_and_without_newer_ones() -> None:
    clock = Clock()
    delay = LoopDelay(clock)
    delay.observe(2.0)

    clock.now = 60.0
    assert delay.quantiles()[1.0] == 2.0
    clock.now = 60.1
    assert delay.quantiles() == {}
    delay.observe(0.001)
    assert delay.quantiles()[1.0] == 0.001
    assert len(delay._recent) == 1


def test_what_runs_early_counts_as_in_time() -> None:
    delay = LoopDelay(Clock())
    delay.observe(-0.003)

    assert delay.quantiles()[1.0] == 0.0


def test_what_the_delay_keeps_is_bounded_when_the_clock_stands_still() -> None:
    delay = LoopDelay(Clock())
    for _ in range(60_001):
        delay.observe(0.001)
    delay.observe(0.5)

    assert len(delay._recent) == 60_000
    assert delay.quantiles()[1.0] == 0.5


def test_a_histogram_counts_each_observation_within_every_bound_that_holds_it() -> None:
    times = Histogram((0.1, 1.0), ("route",))
    for seconds in (-0.5, 0.1, 0.11, 1.0, 7.0):
        times.observe(seconds, "/a")
    metrics = Metrics()
    metrics.add(lambda: [times.family("wavstream_some_seconds", "Seconds.")])

    lines = [line for line in scraped(metrics) if line.startswith("wavstream_some_seconds")]

    assert lines == [
        'wavstream_some_seconds_bucket{le="0.1",route="/a"} 2.0',
        'wavstream_some_seconds_bucket{le="1.0",route="/a"} 4.0',
        'wavstream_some_seconds_bucket{le="+Inf",route="/a"} 5.0',
        'wavstream_some_seconds_count{route="/a"} 5.0',
        'wavstream_some_seconds_sum{route="/a"} 8.21',
    ]


def test_a_histogram_without_labels_is_there_before_the_first_observation() -> None:
    metrics = Metrics()
    metrics.add(lambda: [Histogram((1.0,)).family("wavstream_some_seconds", "Seconds.")])

    assert "wavstream_some_seconds_count 0.0" in scraped(metrics)
