"""A real server whose wall clock is put right, or wrong, while it has recordings: none is lost for it."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bench.faults.disk import shimmed
from tests.support.listening import beeps
from tests.support.recorder import Recorder, Wall, recorder
from tests.support.waiting import until
from wavstream.catalog.clock_corrections import ClockCorrections
from wavstream.catalog.operations import Operations
from wavstream.errors import DependencyError
from wavstream.simulator.caller import Leg

RATE_HZ = 8000
SWEPT_OFTEN = {"retention": {"sweep_interval_s": 0.02}}
DAY = timedelta(days=1)

needs_a_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None and shutil.which("cc") is None, reason="the shim of system calls needs a C compiler"
)


def leg() -> Leg:
    return Leg("a", beeps(1.0, rate_hz=RATE_HZ, frequency_hz=600.0, offset_s=0.3)[:, None], RATE_HZ)


async def recorded(client: Recorder, session_id: str) -> dict[str, Any]:
    """Return a recording of a call that is over, with its file."""
    recording = await client.start(session_id)
    await client.play_at_once(session_id, leg())
    return await client.until(recording)


def moment(recording: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(recording[name])


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Return what grows with each sweep that has been done."""
    done: list[datetime] = []
    forget = Operations.forget_before

    async def forget_before(self: Operations, before: datetime) -> None:
        await forget(self, before)  # the last thing that a sweep does
        done.append(before)

    monkeypatch.setattr(Operations, "forget_before", forget_before)
    return done


@pytest.mark.parametrize("by", [3 * DAY, -4 * DAY])
async def test_recordings_of_before_and_after_a_jump_are_kept_for_their_hours_by_the_new_time(
    tmp_path: Path, sweeps: list[datetime], by: timedelta
) -> None:
    wall = Wall(jumps=True)
    with capture_logs() as logs:
        async with recorder(tmp_path, wall=wall, **SWEPT_OFTEN) as (client, _):
            before = await recorded(client, "before")
            running = await client.start("over the jump")
            wall.ahead = by
            await until(lambda: any(line["event"] == "clock_jump_corrected" for line in logs))
            await client.play_at_once("over the jump", leg())
            over = await client.until(running)
            after = await recorded(client, "after")
            seen = len(sweeps)
            await until(lambda: len(sweeps) >= seen + 2)  # the first may have begun before
            kept = [await client.get(each) for each in (before, over, after)]
            links = [(await client.http.get(each["url"])).status_code for each in kept]
            metrics = (await client.http.get("/metrics")).text

    assert [(each["status"], link) for each, link in zip(kept, links, strict=True)] == [("available", 200)] * 3
    assert moment(kept[0], "expires_at") - moment(before, "expires_at") == pytest.approx(by, abs=timedelta(seconds=2))
    for each in kept:
        assert moment(each, "expires_at") - moment(each, "ended_at") - by == pytest.approx(
            DAY, abs=timedelta(seconds=2)
        )
    jumped = [line["by_s"] for line in logs if line["event"] == "clock_jumped"]
    assert jumped == [pytest.approx(by.total_seconds(), abs=2)]
    assert "wavstream_clock_jumps_total 1.0" in metrics


@pytest.mark.parametrize("by", [3 * DAY, -4 * DAY])
async def test_a_jump_that_the_catalog_did_not_take_is_corrected_by_the_next_run_and_the_way_back_too(
    tmp_path: Path, sweeps: list[datetime], monkeypatch: pytest.MonkeyPatch, by: timedelta
) -> None:
    async def fail(*_: object) -> int:
        raise DependencyError("the catalog does not work: disk I/O error")

    def of(event: str) -> int:
        return sum(line["event"] == event for line in logs)

    wall = Wall(jumps=True)
    with capture_logs() as logs:
        async with recorder(tmp_path, wall=wall, **SWEPT_OFTEN) as (client, _):
            before = await recorded(client, "before")
            monkeypatch.setattr(ClockCorrections, "move", fail)
            wall.ahead = by
            await until(lambda: of("clock_jump_not_corrected") == 1)
            meanwhile = await recorded(client, "meanwhile")
            seen = len(sweeps)
            await until(lambda: len(sweeps) >= seen + 2)  # by the time of before the jump
        monkeypatch.undo()
        async with recorder(tmp_path, wall=wall, **SWEPT_OFTEN) as (client, _):
            await until(lambda: of("clock_jump_corrected") == 1)
            jumped = [await client.get(each) for each in (before, meanwhile)]
        wall.ahead = timedelta(0)
        async with recorder(tmp_path, wall=wall, **SWEPT_OFTEN) as (client, _):
            await until(lambda: of("clock_jump_corrected") == 2)
            back = [await client.get(each) for each in (before, meanwhile)]
            links = [(await client.http.get(each["url"])).status_code for each in back]

    assert links == [200, 200]
    for made, then, now in zip((before, meanwhile), jumped, back, strict=True):
        assert moment(then, "expires_at") - moment(made, "ended_at") == pytest.approx(
            DAY + by, abs=timedelta(seconds=2)
        )
        assert moment(now, "expires_at") - moment(made, "ended_at") == pytest.approx(DAY, abs=timedelta(seconds=2))


@pytest.mark.parametrize("by", [timedelta(hours=1), -4 * DAY])
async def test_a_call_that_goes_on_over_a_restart_was_away_for_seconds_whatever_the_clock_says(
    tmp_path: Path, by: timedelta
) -> None:
    wall = Wall(jumps=True)
    with capture_logs() as logs:
        async with recorder(tmp_path, wall=wall) as (client, _):
            running = await client.start("call")
            socket = await client.connect(f"/media/pcm/call/a?codec=l16&rate={RATE_HZ}")
            await socket.send(bytes(RATE_HZ))
            await client.until_streaming("call", 1)
        wall.ahead = by
        async with recorder(tmp_path, wall=wall) as (client, _):
            await client.play_at_once("call", leg())
            done = await client.until(running)

    assert done["end_reason"] == "hangup"
    assert 500 <= done["duration_ms"] < 60_000
    assert [line["by_s"] for line in logs if line["event"] == "journal_clock_goes_on"] == [
        pytest.approx(-by.total_seconds(), abs=2)
    ]


@needs_a_compiler
async def test_a_server_that_started_three_days_behind_loses_nothing_when_the_time_is_put_right() -> None:
    async with shimmed(retention__sweep_interval_s=0.05) as (victim, _, shim):
        shim.put_clock_forward(-3 * 86_400)
        await victim.start()
        client = Recorder(str(victim.http.base_url).rstrip("/"))
        client.http = victim.http
        before = await recorded(client, "before")
        shim.put_clock_forward(0)

        async def corrected() -> bool:
            return "wavstream_clock_jumps_total 1.0" in (await victim.http.get("/metrics")).text

        await until(corrected)
        after = await recorded(client, "after")
        kept = [await client.get(each) for each in (before, after)]
        links = [(await victim.http.get(each["url"])).status_code for each in kept]
        log = [json.loads(line) for line in (victim.data_dir.parent / "server.log").read_text().splitlines()]

    assert [(each["status"], link) for each, link in zip(kept, links, strict=True)] == [("available", 200)] * 2
    said = [line["by_s"] for line in log if line["event"] == "clock_jumped"]
    assert said == [pytest.approx(3 * 86_400, abs=1)]
    assert moment(after, "expires_at") - moment(after, "ended_at") == pytest.approx(4 * DAY, abs=timedelta(seconds=2))
