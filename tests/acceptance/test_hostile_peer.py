"""A short, seeded part of ``make hostile``: what another app's peer sends, its neighbour's calls do not notice."""

from __future__ import annotations

from pathlib import Path

from bench.hostile.suite import run_suite
from tests.support.truth import real_time

ATTACKS = ("large bodies", "wrong keys", "malformed HTTP", "fuzzed frames", "many sessions", "recordings of a session")


@real_time
async def test_a_hostile_peer_costs_its_neighbour_nothing(tmp_path: Path) -> None:
    suite = await run_suite(
        tmp_path, seed=11, attacks=ATTACKS, scale=0.03, calls=2, idle_s=0.3, held_s=0.0, figures=False
    )
    assert {outcome.attack: outcome.fell for outcome in suite.outcomes if outcome.fell} == {}
    assert [result.faults for result in suite.calls] == [[], []]
    assert all(result.required > 0 for result in suite.calls)
    assert not suite.server_ended
