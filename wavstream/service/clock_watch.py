"""Jumps of the wall clock, noticed and corrected for: an NTP server is reached, a machine was paused, someone sets it.

1. The clock is looked at four times a second. What was made by it since the machine was started is moved by as much as
   it jumped: rows (``catalog/clock_corrections.py``), recordings whose row is still to be written, and moments in
   memory. What was set aside of journals is kept from now on.
2. Only then does the server's time follow (``clock.Clocks``). While the catalog cannot be written, all goes on by the
   time of before the jump, sweeps too: nothing is lost for it, and what a later run finds is corrected there.
3. No sweep goes on while rows are moved. On a full disk the correction has the reserve's room.
4. Not moved is what somebody else has in hands: signed links and stream tokens. They end when they say, by the new
   time.

5. Of several workers, worker 0 does this, and tells the others, which find in the catalog how its clock is set. What
   one of them saves in the milliseconds between is stamped by the time of before the jump.

The journal's clock takes no part in it (``clock.py``).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog

from wavstream.catalog.clock_corrections import ClockCorrections
from wavstream.catalog.recordings import Recordings
from wavstream.clock import AGREE_US, BootClocks, ClockJump, Clocks
from wavstream.errors import DependencyError
from wavstream.journal.set_aside import SetAside
from wavstream.recorder.recorder import Recorder
from wavstream.retention.sweeper import Sweeper
from wavstream.storage.reserve_file import ReserveFile
from wavstream.webhooks.dispatcher import Dispatcher
from wavstream.workers.boundary import Boundary

CLOCK_JUMPED = "the clock has jumped"
LOOK_S = 0.25
_FOLLOW_S = 5.0
"""How often a worker looks whether it was not told."""

log = structlog.get_logger(__name__)


async def go_on(
    clocks: Clocks, *, corrections: ClockCorrections, recordings: Recordings, is_beside: bool = False
) -> None:
    """Let the clocks of a server that starts go on from the catalog, before anything is stamped.

    ``is_beside``: it is a worker that starts beside others, whose clocks it has to have. Raise DependencyError if the
    catalog fails.
    """
    is_recording = is_beside or any(row.status.is_running for row in await recordings.unfinished())
    by = clocks.go_on(await corrections.known(), is_recording=is_recording)
    if by and not is_beside:
        log.warning("journal_clock_goes_on", by_s=round(by.total_seconds(), 3))


class ClockWatch:
    """Watches one server's wall clock. Lives on the event loop."""

    def __init__(
        self,
        clocks: Clocks,
        *,
        corrections: ClockCorrections,
        reserve_file: ReserveFile,
        recorder: Recorder,
        sweeper: Sweeper,
        dispatcher: Dispatcher,
        set_aside: SetAside,
        boundary: Boundary,
    ) -> None:
        self.jumps = 0
        """How often the clock was moved since the start, or was found moved at it."""
        self._clocks = clocks
        self._corrections = corrections
        self._reserve_file = reserve_file
        self._recorder = recorder
        self._sweeper = sweeper
        self._dispatcher = dispatcher
        self._set_aside = set_aside
        self._boundary = boundary
        self._kept: BootClocks | None = None
        """What the catalog has of the clocks."""
        self._told_us: int | None = None
        """By how much the clock is ahead of the server's time, as the log has it."""

    async def run(self) -> None:
        """Look at the clock until cancelled."""
        said = False
        while True:
            try:
                await self.look()
                said = False
            except DependencyError as error:
                if not said:
                    log.warning("clock_jump_not_corrected", error=str(error))
                said = True
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Correct for a jump, if there is one; raise DependencyError if the catalog fails."""
        jump = self._clocks.jump()
        if jump is not None:
            self._tell(jump)
            async with self._sweeper.sweeping:
                moved = await self._reserve_file.lend(self._move, why="the clock has jumped while the disk is full")
            log.info("clock_jump_corrected", recordings=moved)
            await asyncio.to_thread(self._set_aside.keep_from_now)
            self._dispatcher.look_again()
        self._told_us = None
        await self.keep()

    async def keep(self) -> None:
        """Write how the clocks are set, if the catalog has it otherwise; raise DependencyError if that fails."""
        setting = self._clocks.setting()
        if setting is not None and not setting.agrees(self._kept):
            await self._corrections.keep(setting)
            self._kept = setting

    async def follow(self) -> None:
        """Follow the clock of worker 0, which corrects rows for all, until cancelled (rule 5)."""
        has_jumped = asyncio.Event()

        async def hear(_body: bytes) -> bytes:
            has_jumped.set()
            return b""

        self._boundary.answers(CLOCK_JUMPED, hear)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FOLLOW_S):
                    await has_jumped.wait()
            has_jumped.clear()
            with suppress(DependencyError):  # worker 0 tells it, and this one looks again
                jump = self._clocks.behind(await self._corrections.known())
                if jump is not None:
                    self._clocks.follow(jump)
                    self._recorder.clock_jumped(jump.by)
                    self._sweeper.clock_jumped(jump.by)

    async def _move(self) -> int:
        # Whole, also where the server stops meanwhile: what it finishes then has to go by the time of the moved rows.
        return await asyncio.shield(asyncio.ensure_future(self._move_and_follow()))

    async def _move_and_follow(self) -> int:
        jump = self._clocks.jump()
        if jump is None:  # it was put right again meanwhile
            return 0
        # Nothing comes between the answer and what follows it: a row that is saved behind these is moved in memory.
        moved = await self._corrections.move(jump, self._clocks.setting())
        self._clocks.follow(jump)
        self._recorder.clock_jumped(jump.by)
        self._sweeper.clock_jumped(jump.by)
        self._dispatcher.clock_jumped(jump.by)
        self._boundary.tell_all(CLOCK_JUMPED)
        return moved

    def _tell(self, jump: ClockJump) -> None:
        ahead_us = jump.by // timedelta(microseconds=1)
        if self._told_us is not None and abs(ahead_us - self._told_us) < AGREE_US:
            return
        self._told_us = ahead_us
        self.jumps += 1
        now = jump.until + jump.by
        log.warning("clock_jumped", by_s=round(jump.by.total_seconds(), 3), now=f"{now:%Y-%m-%d %H:%M:%S} UTC")
