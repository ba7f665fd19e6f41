"""The scenarios beside those of ``budgets``: peers, MP3 against LAME, listeners, silence, fairness, churn."""

from __future__ import annotations

from bench.fairness import SETTINGS as TWO_APPS
from bench.fairness import flood_of_ranges, flood_of_recordings
from bench.figures import Budget, Row, ratios
from bench.listeners import listeners_cost
from bench.mp3 import lame_cpu_s, run_calls
from bench.processes import wavstream_server
from bench.scenario import Bench, delay_p99_ms, row, wrong_samples
from bench.silence import silence_cost
from bench.storms import CHURN_CALL_S, CHURN_LEGS, churn

PEER_LEGS = 1_000
MP3_CALLS = 100
LIVE_CALLS = 100
SILENT_STREAMS = 1_000
FLOOD_RECORDINGS = 1_000
CHURN_S = 60.0


def peers_scenario(bench: Bench) -> list[Row]:
    """Give every peer the same frames, in turn with the server."""
    names = ("c", "c-mark", "bare-c", "bare-c-mark", "node", "websockets", "websockets-uvloop", "floor")
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in names}
    for run in range(bench.runs):
        bench.say(f"peers, run {run + 1} of {bench.runs} ...")
        ours.append(bench.frame_cost(PEER_LEGS).of_a_call_us())
        for name in names:
            if bench.peer(name).start:
                theirs[name].append(bench.peer_us(name, PEER_LEGS))
    rows = [row("1,000 legs: CPU a frame of a call of 3 minutes, all of it", ours, "us")]
    for name in names:
        peer = bench.peer(name)
        rows.append(row(peer.name, theirs[name], "us", note=peer.why_not))
        if theirs[name]:
            rows.append(Row("against it", ratios(ours, theirs[name]), "x"))
    return rows


def mp3_scenario(bench: Bench) -> list[Row]:
    """Measure what MP3 costs beyond WAV, against LAME alone."""
    seconds = round(bench.seconds)
    lost, delays, shares, against = [], [], [], []
    for _ in range(bench.runs):
        found = {}
        for file_format in ("wav", "mp3"):
            with wavstream_server(bench.pinned, bench.plan) as server:
                bench.say(f"{MP3_CALLS} stereo calls to {file_format}, {seconds} s ...")
                found[file_format] = run_calls(server.url, calls=MP3_CALLS, seconds=seconds, file_format=file_format)
        mp3, lame_s = found["mp3"], lame_cpu_s(calls=MP3_CALLS, seconds=seconds)
        lost.append(float(mp3.lost_s))
        delays.append(mp3.loop_delay_p99_ms)
        shares.append(100 * mp3.cpu_s / seconds)
        against.append((mp3.cpu_s - found["wav"].cpu_s) / lame_s)
    return [
        row("100 stereo MP3 calls: seconds lost or moved", lost, "", Budget(0)),
        row("100 stereo MP3 calls: event-loop delay p99", delays, "ms", Budget(20)),
        row("100 stereo MP3 calls: of one core", shares, "%"),
        row("MP3 beyond WAV / LAME alone", against, "x", Budget(1.2)),
    ]


def live_scenario(bench: Bench) -> list[Row]:
    """Measure what a listener of each call costs, and how far it is behind."""
    rows = []
    for file_format in ("wav", "mp3"):
        found = []
        for _ in range(bench.runs):
            with wavstream_server(bench.pinned, bench.plan) as server:
                bench.say(f"{LIVE_CALLS} calls, a listener each, {file_format} ...")
                found.append(listeners_cost(server, calls=LIVE_CALLS, file_format=file_format))
        rows += [
            row(f"{file_format}: a listener / the recording itself", [each.share for each in found], "x", Budget(0.1)),
            row(
                f"{file_format}: behind the call, p99",
                [each.behind_p99_ms or float("inf") for each in found],
                "ms",
                Budget(1000),
            ),
            row(f"{file_format}: listeners lost", [float(each.lost) for each in found], "", Budget(0)),
        ]
    return rows


def silence_scenario(bench: Bench) -> list[Row]:
    """Measure what silence costs that peers are kept alive with."""
    rows = []
    for dialect in ("pcm", "twilio"):
        found = []
        for _ in range(bench.runs):
            with wavstream_server(bench.pinned, bench.plan, media__ping_interval_s=600) as server:
                bench.say(f"silence to {SILENT_STREAMS} streams, {dialect} ...")
                found.append(silence_cost(server, dialect=dialect, streams=SILENT_STREAMS))
        shares = [100 * each.core_share for each in found]
        wrong = [100 * abs(each.received_share - 1) for each in found]
        rows += [
            row(f"{dialect}: silence to 1,000 streams, of one core", shares, "%", Budget(15)),
            row(f"{dialect}: silence too much or too little", wrong, "%", Budget(1)),
        ]
    return rows


def fairness_scenario(bench: Bench) -> list[Row]:
    """Measure what one app's flood costs another."""
    rows = []
    with wavstream_server(bench.pinned, bench.plan, **TWO_APPS) as server:
        bench.say(f"{FLOOD_RECORDINGS} recordings of one session, and another app ...")
        flood = flood_of_recordings(server, recordings=FLOOD_RECORDINGS)
    for name, seen in (("alone", flood.alone), ("flooded", flood.flooded)):
        rows += [
            row(f"{name}: a limit is found late by, at most", [seen.worst("limit_late_s")], "s"),
            row(f"{name}: stop to its answer, at most", [seen.worst("stop_s") * 1000], "ms"),
            row(f"{name}: download of 100 bytes, at most", [seen.worst("download_s") * 1000], "ms"),
        ]
    each_kb = (flood.flooded_bytes - flood.idle_bytes) / max(flood.started, 1) / 1000
    rows += [
        row("recordings of the flood that were taken", [flood.started]),
        row("memory of each", [each_kb], "kB"),
    ]
    with wavstream_server(bench.pinned, bench.plan, **TWO_APPS) as server:
        bench.say("20 ranges of a live MP3 recording of an hour, and another app ...")
        ranges = flood_of_ranges(server)
    return [
        *rows,
        row("live MP3: one range alone", [ranges.alone_s * 1000], "ms"),
        row("live MP3: the slowest of 20 ranges", [max(ranges.ranges_s, default=0.0) * 1000], "ms"),
        row("live MP3: another app's download of 100 bytes", [max(ranges.download_s) * 1000], "ms"),
        row("ranges refused", [ranges.refused]),
    ]


def churn_scenario(bench: Bench) -> list[Row]:
    """Have calls begin and end all the time; watch memory, and what is lost."""
    bench.say(f"churn: {CHURN_LEGS} legs in calls of {CHURN_CALL_S:g} s, for {CHURN_S:g} s ...")
    found = churn(bench.pinned, seconds=CHURN_S, plan=bench.plan)
    bench.doubt("churn", found.result.late_ticks, found.result.worst_late_ms)
    return [
        row(
            f"churn, {found.calls} calls of {CHURN_CALL_S:g} s: samples lost",
            [wrong_samples(found.result)],
            "",
            Budget(0),
        ),
        row("its memory at the end against that at half", [found.growth], "x", Budget(1.05)),
        row("its memory at the end", [found.end_bytes / 1e6], "MB"),
        row("its event-loop delay p99", [delay_p99_ms(found.result)], "ms", Budget(20)),
        row("the server, of one core", [100 * found.cpu_share], "%"),
    ]
