"""The scenarios that have budgets: what must hold of a server on one core, against peers in the same run."""

from __future__ import annotations

from bench.cost import CALL_S, FrameCost, frame_cost
from bench.figures import Budget, Row, ratios
from bench.long_call import FED_FAST, LongCall, long_call
from bench.processes import ServerPlan, has_workers, pin_generator, wavstream_server
from bench.scenario import Bench, delay_p99_ms, p99, row, wrong_samples
from bench.search import MP3_STEP, Probe, probe_legs, probe_mp3, search
from bench.senders import fastest_generator
from bench.stops import SETTINGS, stops_to_webhooks
from bench.storms import STORM_CALLS, start_storm
from wavstream.errors import WavstreamError
from wavstream.simulator.generator import Generator
from wavstream.simulator.load import run_load
from wavstream.simulator.load_plan import LoadRequest
from wavstream.simulator.signal import PTIME_S

LEGS, MORE_LEGS = 1_000, 2_000
LONG_CALL_S = 4 * 3600
STOPPED_LEGS = 500
STOPS = 200
JSON_LEGS = 500
FULL_LEGS, FULL_MP3_CALLS = 3_500, 300
PROBE_S = 8.0
FULL_CORE = 0.95
"""A server that takes more of its core than this is behind: a frame seems to cost what there is of the core for it."""
SCALE_LEGS = 800
"""A worker's, where two are measured against one."""


def spread(bench: Bench) -> list[Row]:
    """Measure 1,000 legs spread over the ptime: CPU against C and ``websockets``, delay, memory."""
    wanted = ("c", "c-mark", "websockets")
    names = [name for name in wanted if bench.peer(name).start]
    costs, theirs = [], {name: list[float]() for name in names}
    for run in range(bench.runs):
        bench.say(f"1,000 legs spread, run {run + 1} of {bench.runs} ...")
        costs.append(bench.frame_cost(LEGS, verify=run == 0))
        for name in names:
            theirs[name].append(bench.peer_us(name, LEGS))
    ours = [cost.of_a_call_us() for cost in costs]
    rows = [
        row(f"{LEGS:,} legs: CPU a frame of a call of 3 minutes, all of it", ours, "us"),
        row("in the stream alone", [cost.stream_us for cost in costs], "us"),
        row("of that the event loop", [cost.loop_us for cost in costs], "us"),
        row("a recording's life beside its frames", [cost.life_ms for cost in costs], "ms"),
        row(f"CPU a frame of the whole load of {bench.seconds:g} s", [cost.load_us for cost in costs], "us"),
        row("samples lost, added or moved", [wrong_samples(costs[0].result)], "", Budget(0)),
        row(
            f"event-loop delay p99 at {LEGS:,} legs",
            [delay_p99_ms(cost.result) for cost in costs],
            "ms",
            Budget(10, is_strict=True),
        ),
        row(
            f"memory a leg at {LEGS:,} legs",
            [cost.result.memory_bytes_per_leg / 1000 for cost in costs],
            "kB",
            Budget(40),
        ),
    ]
    budgets = {"c": Budget(0.4), "websockets": Budget(0.3)}
    for name in wanted:
        peer = bench.peer(name)
        if name not in names:
            rows.append(Row(f"against {peer.name}", None, "x", budgets.get(name), peer.why_not))
            continue
        rows.append(row(peer.name, theirs[name], "us"))
        rows.append(Row(f"against {peer.name}", ratios(ours, theirs[name]), "x", budgets.get(name)))
    loads = [cost.load_us for cost in costs]
    if "c" in names:
        rows.append(Row("against the C recorder, all of the load", ratios(loads, theirs["c"]), "x"))
    return rows


def more(bench: Bench) -> list[Row]:
    """Measure 2,000 legs against the C recorder, whose wake-ups are fuller there."""
    return _against_c(bench, MORE_LEGS, Budget(0.6))


def burst(bench: Bench) -> list[Row]:
    """Measure 1,000 legs that send in the same instant, against the C recorder."""
    return _against_c(bench, LEGS, Budget(0.8), burst=True)


def _against_c(bench: Bench, legs: int, budget: Budget, *, burst: bool = False) -> list[Row]:
    costs: list[FrameCost] = []
    theirs: list[float] = []
    peer, name = bench.peer("c"), f"{legs:,} legs{' in the same instant' if burst else ''}"
    why_not = peer.why_not
    for run in range(bench.runs):
        bench.say(f"{name}, run {run + 1} of {bench.runs} ...")
        if peer.start:
            theirs.append(bench.peer_us("c", legs, burst=burst))
        try:
            costs.append(bench.frame_cost(legs, burst=burst))
        except WavstreamError as refused:  # a server that is too slow for so many refuses some
            why_not = str(refused)
            bench.say(f"  {refused}")
            break
    ours = [cost.of_a_call_us() for cost in costs]
    is_full = any(cost.stream_us * legs / PTIME_S > FULL_CORE * 1e6 for cost in costs)
    note = "the core was full: what it did not get to came later" if is_full else ""
    whole = [cost.load_us for cost in costs]
    return [
        row(f"{name}: CPU a frame of a call of 3 minutes, all of it", ours, "us", note=note if costs else why_not),
        row(f"{name}: CPU a frame of the whole load of {bench.seconds:g} s", whole, "us"),
        row(peer.name, theirs, "us", note=peer.why_not),
        Row(f"{name}: against it", None if why_not else ratios(ours, theirs), "x", budget, why_not),
    ]


def json(bench: Bench) -> list[Row]:
    """Measure frames of Twilio's JSON against those of binary L16, from the same generator."""
    binary, twilio, wrong = [], [], 0.0
    for run in range(bench.runs):
        bench.say(f"JSON against binary, run {run + 1} of {bench.runs} ...")
        found = []
        for dialect in ("pcm", "twilio"):
            cost = frame_cost(
                bench.pinned,
                JSON_LEGS,
                seconds=bench.seconds,
                dialect=dialect,
                verify=run == 0,
                generator_type=Generator,
                plan=bench.plan,
            )
            found.append(cost.of_a_call_us(CALL_S))
            wrong += wrong_samples(cost.result)
            bench.doubt(dialect, cost.result.late_ticks, cost.result.worst_late_ms)
        binary.append(found[0])
        twilio.append(found[1])
    return [
        row("500 legs of Twilio's JSON: CPU a frame", twilio, "us"),
        Row("against binary L16", ratios(twilio, binary), "x", Budget(1.5)),
        row("500 legs of each: samples lost, added or moved", [wrong], "", Budget(0)),
    ]


def legs(bench: Bench) -> list[Row]:
    """Find the most legs on one core: the budget first, and where that does not hold the most below it."""
    bench.say(f"the most legs on one core, {FULL_LEGS:,} first ...")
    confirmed = probe_legs(bench.pinned, FULL_LEGS, seconds=3 * PROBE_S, plan=bench.plan)
    return [_most(bench, "legs", "legs on one core, stereo WAV, every sample checked", FULL_LEGS, confirmed)]


def mp3_calls(bench: Bench) -> list[Row]:
    """Find the most stereo MP3 calls on one core: the budget first, else the most below it."""
    bench.say(f"the most MP3 calls on one core, {FULL_MP3_CALLS} first ...")
    confirmed = probe_mp3(bench.pinned, FULL_MP3_CALLS, seconds=2 * PROBE_S, plan=bench.plan)
    return [_most(bench, "mp3", "stereo MP3 calls on one core", FULL_MP3_CALLS, confirmed, step=MP3_STEP)]


def _most(bench: Bench, kind: str, name: str, wanted: int, confirmed: Probe, *, step: int = 1) -> Row:
    """Return so many as are wanted, if that is confirmed, or else the most that is found below."""
    most, note = wanted, f"generator {confirmed.generator_share:.0%} of its core"
    if not confirmed.holds:
        bench.say(f"  {wanted:,}: {confirmed.why}")
        found = search(kind, bench.pinned, first=wanted // 2, seconds=PROBE_S, plan=bench.plan)
        most, note = found.most, f"at {wanted:,}: {confirmed.why}"
    assert most % step == 0
    return row(name, [most], "", Budget(wanted, True), note)


def workers(bench: Bench) -> list[Row]:
    """Measure what two workers on two cores record against one on one.

    The generator has no core left to itself then. What a frame costs does not depend on that: two cores that do
    nothing else record twice the frames of one, by as much less as a frame costs more there. The load is the same for
    each worker, so that its wake-ups are as full.
    """
    budget, what = Budget(1.8, True), "2 workers on 2 cores against 1 on 1"
    if not has_workers(bench.plan.python):
        return [Row(what, None, "x", budget, "`wavstream serve` has no --workers here")]
    one: list[float] = []
    two: list[float] = []
    shares: list[float] = []
    both = ServerPlan(bench.plan.python, workers=2)
    for run in range(bench.runs):
        bench.say(f"workers, run {run + 1} of {bench.runs} ...")
        one.append(bench.frame_cost(SCALE_LEGS).of_a_call_us())
        pin_generator(bench.pinned, shared=True)
        cost = frame_cost(bench.pinned, 2 * SCALE_LEGS, seconds=bench.seconds, plan=both)
        pin_generator(bench.pinned)
        two.append(cost.of_a_call_us())
        shares.append(100 * cost.result.generator_cpu_s / bench.seconds)
        bench.say(f"  2 workers, {2 * SCALE_LEGS:,} legs: {two[-1]:.1f} us a frame; generator {shares[-1]:.0f} %")
    scale = ratios([2 * cost_us for cost_us in one], two)
    return [
        row(f"1 worker, {SCALE_LEGS:,} legs: CPU a frame", one, "us"),
        row(f"2 workers, {2 * SCALE_LEGS:,} legs: CPU a frame", two, "us"),
        row("the generator beside them, of one core", shares, "%"),
        Row(what, scale, "x", budget),
    ]


def stop(bench: Bench) -> list[Row]:
    """Time stops until the file can be fetched, while 500 legs stream: calls of seconds, and one of 4 h in each run."""
    short_ms: list[list[float]] = []
    long_ms: list[float] = []
    for run in range(bench.runs):
        bench.say(f"stops while {STOPPED_LEGS} legs stream, run {run + 1} of {bench.runs} ...")
        with (
            wavstream_server(bench.pinned, bench.plan, **FED_FAST) as server,
            long_call(server.url, LONG_CALL_S) as call,
        ):
            once = _StopOnce(call)
            request = LoadRequest(url=server.url, legs=STOPPED_LEGS, duration_s=bench.seconds, keep=True)
            result = run_load(request, once.progress, fastest_generator())
        long_ms.append(once.took_ms)
        short_ms.append(result.stop_ms)
        bench.say(f"  short calls p99 {p99(result.stop_ms):.0f} ms, 4 h call {long_ms[-1]:.0f} ms")
        bench.doubt("stops", result.late_ticks, result.worst_late_ms)
    budget = Budget(50, is_strict=True)
    return [
        row(
            f"stop to fetchable p99 at {STOPPED_LEGS} legs, calls of seconds",
            [p99(run) for run in short_ms],
            "ms",
            budget,
        ),
        row(f"stop to fetchable at {STOPPED_LEGS} legs, a call of 4 h", long_ms, "ms", budget),
    ]


class _StopOnce:
    """Stops the long call once two fifths of a load are over, before that stops calls of its own."""

    def __init__(self, call: LongCall) -> None:
        self._call = call
        self.took_ms = float("inf")

    def progress(self, phase: str, done: float) -> None:
        if phase == "stream" and done >= 0.4 and self.took_ms == float("inf"):
            self.took_ms = self._call.stop_ms()


def stops(bench: Bench) -> list[Row]:
    """Stop 200 sessions in the same second, and time each until its webhook."""
    times_ms, spread_s, wrong = [], [], 0
    for run in range(bench.runs):
        bench.say(f"{STOPS} stops in a second, run {run + 1} of {bench.runs} ...")
        with wavstream_server(bench.pinned, bench.plan, **SETTINGS) as server:
            result = stops_to_webhooks(server, sessions=STOPS)
        times_ms.append(p99(result.webhook_ms))
        spread_s.append(result.spread_s)
        wrong += result.missing + result.broken
    return [
        row(f"{STOPS} stops in one second: stop to webhook p99", times_ms, "ms", Budget(300, is_strict=True)),
        row("from the first stop to the last", spread_s, "s", Budget(1.05)),
        row("webhooks that never came, files that were not there", [wrong], "", Budget(0)),
    ]


def storm(bench: Bench) -> list[Row]:
    """Have 500 calls begin within a tenth of a second, and count what is lost of them."""
    results = []
    for run in range(bench.runs):
        bench.say(f"{STORM_CALLS} calls begin in 100 ms, run {run + 1} of {bench.runs} ...")
        result = start_storm(bench.pinned, plan=bench.plan)
        if result is None:
            return [Row("start storm: samples lost", None, "", Budget(0), "there is no C compiler")]
        bench.say(f"  {result.lost_samples} samples lost; all legs streamed after {result.open_s * 1000:.0f} ms")
        for complaint in result.complaints[:5]:
            bench.say(f"  {complaint}")
        results.append(result)
    return [
        row(
            f"start storm, {STORM_CALLS} calls in 100 ms: samples lost",
            [r.lost_samples for r in results],
            "",
            Budget(0),
        ),
        row("silence within what its legs sent", [r.holes / 8 for r in results], "ms of all"),
        row("streams of it that were refused", [r.refused for r in results], "", Budget(0)),
        row("until all of its streams were open", [r.open_s * 1000 for r in results], "ms"),
        row("event-loop delay p99 of it", [r.delay_p99_ms for r in results], "ms"),
    ]
