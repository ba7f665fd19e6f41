"""``wavstream load``: many calls with known audio; measures their cost, checks every sample, and removes them again.

A session is two legs in one stereo recording. First the sockets of the first calls connect, then their recordings are
started through the API, then every leg sends its frames. Calls that begin later have their recordings started shortly
before. A few recordings are stopped through the API while everything streams, to measure how soon a file can be
fetched; the others end when the calls are hung up. The server's CPU is read from its metrics before the first frame and
when the last file is finished, if it gives them.

Where calls follow each other, their files are looked at while others stream, else when all are over and measured.

Whatever breaks a load off, Ctrl-C and SIGTERM too, its calls are hung up and its recordings removed.

Exit codes: 0 all went well; 1 samples or legs were lost, a stream was refused, or it was broken off; 2 the load could
not run as it was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager

from wavstream.errors import OperatorError, PeerError
from wavstream.model.ids import new_id
from wavstream.simulator.address import ServerAddress
from wavstream.simulator.control import CPU, REST_WITHIN_S, SPEAK_WITHIN_S, Control
from wavstream.simulator.generator import Generator, Traffic, Turn
from wavstream.simulator.load_files import Files, remove
from wavstream.simulator.load_plan import Call, LoadRequest, LoadResult, check_request, plan_calls
from wavstream.simulator.signal import PTIME_S

MOST_STOPS = 50
"""Recordings that are stopped through the API to time it; the others end by hang-up."""
_STOPS_FROM, _STOPS_TO = 0.6, 0.9  # of the duration: the server is warm, and every leg still streams
_STOP_AT = 0.75
"""Of a call that begins or ends while others stream."""
_RECORD_AHEAD_S = 5.0
_LOOK_BEHIND_S = 0.5
_FINISH_TIMEOUT_S = 60.0

MEMORY = "process_resident_memory_bytes"
LOOP_DELAY = "wavstream_loop_delay_seconds{"

Progress = Callable[[str, float], None]
"""Takes the name of the phase and how much of it is done, 0..1."""


def run_load(
    request: LoadRequest,
    progress: Progress = lambda _phase, _done: None,
    generator_type: type[Generator] = Generator,
) -> LoadResult:
    """Run the load and return its measurements; raise OperatorError or PeerError if it cannot run."""
    check_request(request)
    server = ServerAddress.parse(request.url)
    calls = plan_calls(request, f"load-{new_id()[:8]}")
    result = LoadResult(legs=request.legs, duration_s=request.duration_s, burst=request.burst, calls=len(calls))
    with closing(Control(server, key=request.key)) as control, closing(_Meter(request, server)) as meter:
        try:
            _stream(calls, request, server, control, meter, result, progress, generator_type)
        except BaseException:
            control.close()  # it may be in the middle of an answer
            if not request.keep:
                remove(calls, control)
            raise
    return result


def _stream(
    calls: list[Call],
    request: LoadRequest,
    server: ServerAddress,
    control: Control,
    meter: _Meter,
    result: LoadResult,
    progress: Progress,
    generator_type: type[Generator],
) -> None:
    idle = meter.read()
    result.is_measured = meter.is_there
    turns = [
        Turn(2 * call.place + leg, round(call.begin_s / PTIME_S), call.frames) for call in calls for leg in range(2)
    ]
    targets = [server.media_path(request.dialect, call.session_id, leg, {}) for call in calls for leg in ("a", "b")]
    traffic = Traffic(
        targets, 0, request.dialect, processes=request.processes, burst=request.burst, key=request.key, turns=turns
    )
    with (
        closing(Control(server, key=request.key)) as beside,
        ThreadPoolExecutor(1, thread_name_prefix="files") as looking,
        _dropping(looking),
    ):
        files = Files(beside, request, result)
        with generator_type(server, traffic) as generator:
            progress("connect", 0)
            generator.wait_connected()
            first = [call for call in calls if call.begin_s == 0]
            for at, call in enumerate(first):
                _record(control, call)
                progress("start recordings", at / len(first))
            before = meter.at_rest(within_s=SPEAK_WITHIN_S)
            run = _Run(request, control, time.monotonic() + 0.2, result, progress)
            generator.start(run.start_s)
            looks = run.drive(calls, lambda call: looking.submit(files.look, call))
            run.sleep_until(request.duration_s - 0.3)
            streaming = meter.read()
            counts = generator.wait_done()
        ended = meter.at_rest()
        result.frames, result.late_ticks, result.worst_late_ms = counts.frames, counts.late_ticks, counts.worst_late_ms
        result.held_back, result.lost_legs = counts.held_back, len(counts.lost_legs)
        result.generator_cpu_s = counts.cpu_s
        result.complaints += [f"leg {number} ended early, close code {code}" for number, code in counts.lost_legs]
        result.complaints += [f"a stream was not opened: {why}" for why in counts.refused]
        if meter.is_there:
            _measure(result, idle, before, streaming, ended)
        looks += [looking.submit(files.look, call) for call in calls if not run.is_looked_at(call)]
        for at, look in enumerate(looks):
            progress("verify" if request.verify else "check", at / len(looks))
            look.result()


@contextmanager
def _dropping(looking: ThreadPoolExecutor) -> Iterator[None]:
    """Look at no more files once the load is broken off."""
    try:
        yield
    except BaseException:
        looking.shutdown(wait=False, cancel_futures=True)
        raise


def _measure(
    result: LoadResult,
    idle: dict[str, float],
    before: dict[str, float],
    streaming: dict[str, float],
    ended: dict[str, float],
) -> None:
    frames = max(result.frames, 1)
    result.cpu_us_per_frame = (ended[CPU] - before[CPU]) / frames * 1e6
    result.finish_cpu_us_per_frame = (ended[CPU] - streaming[CPU]) / frames * 1e6
    quantiles = {name: loop_delay_s(streaming, name) for name in ("0.5", "0.99", "1")}
    result.loop_delay_ms = {name: value * 1000 for name, value in quantiles.items() if value is not None}
    result.memory_bytes_per_leg = (streaming.get(MEMORY, 0) - idle.get(MEMORY, 0)) / result.legs


def loop_delay_s(metrics: dict[str, float], quantile: str) -> float | None:
    """Return this quantile of the loop's delay, where there are several loops that of the latest; None: not told."""
    told = (value for name, value in metrics.items() if name.startswith(LOOP_DELAY) and f'="{quantile}"' in name)
    return max(told, default=None)


class _Meter:
    """The server's metrics, if they can be had: a proxy should not pass them on."""

    def __init__(self, request: LoadRequest, server: ServerAddress) -> None:
        where = server if request.metrics_url is None else ServerAddress.parse(request.metrics_url)
        self._control = Control(where, key=request.key)
        self._is_wanted = request.metrics_url is not None
        self._authority = where.authority
        self.is_there = True

    def read(self) -> dict[str, float]:
        """Return the metrics; empty if there are none."""
        if not self.is_there:
            return {}
        try:
            found = self._control.metrics()
        except PeerError:
            if self._is_wanted:
                raise
            self.is_there = False
            return {}
        if CPU not in found:
            raise OperatorError(f"{self._authority}: its /metrics lack {CPU}; the load measures a wavstream server")
        return found

    def at_rest(self, *, within_s: float = REST_WITHIN_S) -> dict[str, float]:
        """Return the metrics once the server has caught up, or after that time."""
        return self._control.metrics_at_rest(within_s=within_s) if self.is_there else {}

    def close(self) -> None:
        """Close the connection."""
        self._control.close()


class _Run:
    """What is asked of the server while all streams: recordings started, some stopped, files looked at."""

    def __init__(
        self, request: LoadRequest, control: Control, start_s: float, result: LoadResult, progress: Progress
    ) -> None:
        self.start_s = start_s
        self._request, self._control, self._result, self._progress = request, control, result, progress
        self._looked_at: set[int] = set()

    def is_looked_at(self, call: Call) -> bool:
        """Return whether the call's files were looked at while others streamed."""
        return call.number in self._looked_at

    def drive(self, calls: list[Call], look: Callable[[Call], Future[None]]) -> list[Future[None]]:
        """Do what is due at its time, and return the looks at files that were begun."""
        looks: list[Future[None]] = []
        todo: list[tuple[float, str, Call]] = []
        for call in calls:
            if call.begin_s > 0:
                todo.append((call.begin_s - _RECORD_AHEAD_S, "record", call))
            if self._request.call_s is not None and call.end_s + _LOOK_BEHIND_S < self._request.duration_s:
                todo.append((call.end_s + _LOOK_BEHIND_S, "look", call))
        todo += [(at_s, "stop", call) for at_s, call in self._stops(calls)]
        for at_s, what, call in sorted(todo, key=lambda each: each[0]):
            self.sleep_until(at_s)
            if what == "look":
                self._looked_at.add(call.number)
                looks.append(look(call))
                continue
            try:
                if what == "record":
                    _record(self._control, call)
                else:
                    self._stop(call)
            except PeerError as refused:
                self._result.complaints.append(f"call {call.number}: {refused}")
        self._result.stop_ms.sort()
        return looks

    def sleep_until(self, at_s: float) -> None:
        """Wait for this time of the load."""
        duration_s = self._request.duration_s
        while (left_s := self.start_s + at_s - time.monotonic()) > 0:
            self._progress("stream", min(max((time.monotonic() - self.start_s) / duration_s, 0), 1))
            time.sleep(min(left_s, 0.25))

    def _stops(self, calls: list[Call]) -> list[tuple[float, Call]]:
        """Return which recordings to stop when, spread in time and over the calls."""
        stops, duration_s = min(MOST_STOPS, len(calls) // 2), self._request.duration_s
        some = [calls[index * len(calls) // stops] for index in range(stops)]
        if self._request.call_s is not None or self._request.ramp_s:
            return [(call.begin_s + _STOP_AT * call.frames * PTIME_S, call) for call in some]
        step = (_STOPS_TO - _STOPS_FROM) / max(stops, 1)
        return [(duration_s * (_STOPS_FROM + step * index), call) for index, call in enumerate(some)]

    def _stop(self, call: Call) -> None:
        """Stop a recording under load, and time it."""
        now_s = time.monotonic() - self.start_s
        if now_s > call.end_s - PTIME_S:
            self._result.complaints.append(f"call {call.number}: its stop was not timed, those before took too long")
            return
        if not call.recording_id:
            return
        call.stopped_frame = int((now_s - call.begin_s) / PTIME_S)
        asked = time.perf_counter()
        url = self._control.stop(call.recording_id)["url"]
        while (status := self._control.status_of(url)) == 404 and time.perf_counter() < asked + _FINISH_TIMEOUT_S:
            time.sleep(0.002)
        self._result.stop_ms.append((time.perf_counter() - asked) * 1000)
        if status != 200:
            self._result.complaints.append(f"call {call.number}: its file answered {status} after the stop")


def _record(control: Control, call: Call) -> None:
    call.is_asked_for = True
    call.recording_id = control.start(call.session_id, format="wav", channels="stereo")["id"]
