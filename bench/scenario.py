"""What every scenario is handed: where servers run, how long and how often; and how it tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console

from bench.cost import FrameCost, Peer, frame_cost, peer_us, peers
from bench.figures import Budget, Row, Spread
from bench.processes import USUAL, ServerPlan
from wavstream.simulator.load_plan import LoadResult
from wavstream.simulator.load_report import percentile

PEER_S = 6.0


@dataclass
class Bench:
    """A run of scenarios."""

    pinned: bool
    seconds: float
    """Length of a load."""
    runs: int = 1
    """How often each figure is measured, in turn with what it is compared with."""
    plan: ServerPlan = USUAL
    console: Console = field(default_factory=lambda: Console(stderr=True))
    doubts: list[str] = field(default_factory=list)
    """Runs whose generator was late."""
    _peers: dict[str, Peer] = field(default_factory=dict)

    def say(self, what: str) -> None:
        """Tell what is done now."""
        self.console.print(what, markup=False, highlight=False)

    def peer(self, name: str) -> Peer:
        """Return a peer by its short name."""
        if not self._peers:
            self._peers = peers(self.pinned)
        return self._peers[name]

    def frame_cost(self, legs: int, *, burst: bool = False, verify: bool = False) -> FrameCost:
        """Run a load on a fresh server, say what it cost, and note if the generator was late."""
        cost = frame_cost(self.pinned, legs, seconds=self.seconds, burst=burst, verify=verify, plan=self.plan)
        self.say(
            f"  wavstream, {legs:,} legs{' in bursts' if burst else ''}: {cost.stream_us:.1f} us a frame in the stream"
            f" ({cost.loop_us:.1f} on the event loop), {cost.life_ms:.1f} ms a recording's life,"
            f" {cost.load_us:.1f} us a frame in all"
        )
        for complaint in cost.result.complaints[:3]:
            self.say(f"  {complaint}")
        self.doubt(f"wavstream, {legs:,} legs", cost.result.late_ticks, cost.result.worst_late_ms)
        return cost

    def peer_us(self, name: str, legs: int, *, burst: bool = False) -> float:
        """Return the CPU of a peer in us a frame; it has to be there."""
        peer = self.peer(name)
        assert peer.start is not None
        cost_us, late_ticks = peer_us(peer.start, legs, seconds=min(self.seconds, PEER_S), burst=burst)
        self.say(f"  {peer.name}, {legs:,} legs{' in bursts' if burst else ''}: {cost_us:.1f} us a frame")
        self.doubt(peer.name, late_ticks)
        return cost_us

    def doubt(self, what: str, late_ticks: int, worst_ms: float = 0.0) -> None:
        """Note a run whose generator had more than a few late ticks."""
        if late_ticks > 10:
            worst = f", worst {worst_ms:.0f} ms" if worst_ms else ""
            self.doubts.append(f"{what}: the generator had {late_ticks} late ticks{worst}")
            self.say(f"  {self.doubts[-1]}")


Scenario = Callable[[Bench], list[Row]]


def row(what: str, values: list[float], unit: str = "", budget: Budget | None = None, note: str = "") -> Row:
    """Return the row of a figure that was measured so often; not at all: the note says why."""
    return Row(what, Spread(tuple(values)) if values else None, unit, budget, note)


def wrong_samples(result: LoadResult) -> float:
    """Return how many samples are lost, added or moved; a complaint without any counts as one."""
    wrong = (result.lost_samples or 0) + result.extra_samples + result.hole_samples
    return float(max(wrong, len(result.complaints), result.lost_legs))


def delay_p99_ms(result: LoadResult) -> float:
    """Return the delay of the event loop, in the minute before the end of the stream."""
    return result.loop_delay_ms.get("0.99", float("inf"))


def p99(ordered: list[float]) -> float:
    """Return the 99th percentile of sorted figures; without any they are infinite."""
    return percentile(ordered, 0.99) or float("inf")
