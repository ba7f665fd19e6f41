"""A server that is drained: it takes nothing new, and what it has goes on to its end, or to another node.

Who may drain it is who may write its data folder: ``wavstream drain`` writes there, into a file of one word, how far
the drain is to be, and each worker looks at it. Nobody is asked for a key, and no port is opened for it. On a full disk
the word stands in a link, as that to which it leads: a link so short takes no room (docs/decisions/0020).

1. ``drain``: no session begins (``sessions.load``, rule 5), ``/readyz`` says why. All that has begun is recorded and
   finished, and legs come back.
2. ``hand-over``, in a cluster: what still runs is let go of. It is in its journals and in their copy elsewhere, its
   streams are closed with 1012, so that media servers come back, to whichever node they are sent. Of this there is no
   way back: the node is out of the cluster until its next start.
3. ``end``: the server ends, as on SIGTERM.
4. No file: none of this; a server that drained takes calls again. A start removes the file: who starts a server wants
   calls.

How far it is stands in ``/metrics``, of all workers together, for the command and for whoever watches.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

import structlog

from wavstream.errors import NO_ROOM, OperatorError
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.recovery import Recovery
from wavstream.sessions.registry import Sessions

LOOK_S = 0.5
_MAX_BYTES = 64
_LINK = "asked:"
"""Before the word in a link, so that it leads nowhere: a link ``drain`` to ``drain`` would be one to itself."""

log = structlog.get_logger(__name__)


class Stage(IntEnum):
    """How far a drain is; each includes those before."""

    NONE = 0
    DRAIN = 1
    HAND_OVER = 2
    END = 3

    @property
    def word(self) -> str:
        """As it stands in the file."""
        return self.name.lower().replace("_", "-")


def asked(file: Path) -> Stage:
    """Return the stage that the file asks for; NONE if there is none, or it says nothing known. Raise OSError."""
    try:
        word = os.readlink(file).removeprefix(_LINK) if file.is_symlink() else _word_in(file)
    except FileNotFoundError:
        return Stage.NONE
    return next((stage for stage in Stage if stage.word == word), Stage.NONE)


def ask(file: Path, stage: Stage) -> None:
    """Ask for a stage, also on a full disk; raise OSError."""
    fresh = file.with_suffix(".new")
    try:
        try:
            fresh.write_text(f"{stage.word}\n", "ascii")
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(f"{_LINK}{stage.word}")
        os.replace(fresh, file)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise


def _word_in(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_MAX_BYTES).strip().decode("ascii", "replace")


def end_drain(file: Path) -> None:
    """Forget the drain of the server before (rule 4); raise OperatorError."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise OperatorError(
            f"{file} cannot be removed ({error.strerror}): it is for drains alone; move away what is there"
        ) from error


class Drain:
    """One worker's part of a drain. Lives on the event loop."""

    def __init__(
        self,
        file: Path,
        *,
        sessions: Sessions,
        recorder: Recorder,
        recovery: Recovery,
        hand_over: Callable[[], Awaitable[None]] | None = None,
        end: Callable[[], None] | None = None,
    ) -> None:
        """``file``: in which the stage stands. ``hand_over``: let go of what runs, and return when others may have it;
        None: there is nobody. ``end``: end the server; None: another worker does.
        """
        self._file = file
        self._sessions = sessions
        self._recorder = recorder
        self._recovery = recovery
        self._hand_over = hand_over
        self._end = end
        self._is_unreadable = False
        self.stage = Stage.NONE

    @property
    def left(self) -> dict[str, int]:
        """What has not ended, by what it is: sessions, and files of recordings that were stopped; 0 if none drains."""
        if self.stage is Stage.NONE:
            return {"sessions": 0, "files": 0}
        kept = 0 if self.stage >= Stage.HAND_OVER else sum(not session.is_idle for session in self._sessions)
        return {"sessions": kept + self._recovery.total - self._recovery.done, "files": self._recorder.finishing}

    async def run(self) -> None:
        """Look at the file, and do as it says, until cancelled."""
        while True:
            try:
                stage = await asyncio.to_thread(asked, self._file)
            except OSError as error:
                if not self._is_unreadable:
                    log.error("drain_unreadable", file=str(self._file), error=str(error))
                self._is_unreadable = True
            else:
                self._is_unreadable = False
                await self._go_to(stage)
            await asyncio.sleep(LOOK_S)

    async def _go_to(self, stage: Stage) -> None:
        if self.stage is Stage.END or (self.stage is Stage.HAND_OVER and stage < Stage.END):
            return  # rule 2
        if stage is Stage.NONE and self.stage is not Stage.NONE:
            self._sessions.load.is_draining = False
            self.stage = stage
            log.info("drain_taken_back")
            return
        if stage >= Stage.DRAIN and self.stage < Stage.DRAIN:
            self._sessions.load.is_draining = True
            self.stage = Stage.DRAIN
            left = self.left
            log.info("server_draining", sessions=left["sessions"], files=left["files"])
        if stage >= Stage.HAND_OVER and self.stage < Stage.HAND_OVER and self._hand_over is not None:
            left = self.left
            await self._hand_over()
            self.stage = Stage.HAND_OVER
            log.info("sessions_handed_over", sessions=left["sessions"])
        if stage is Stage.END:
            self.stage = stage
            if self._end is not None:
                self._end()
