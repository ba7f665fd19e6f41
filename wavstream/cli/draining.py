"""``wavstream drain``: a server takes nothing new, and is left when it has nothing more to record.

The command works on the data folder, as the server's other commands do: what it asks for is a word in a file there
(``service.drain``), and how far the server is it reads from ``/metrics``, where the lock says that it listens. The
deadline is the command's own, so no clocks are compared, and a command that is broken off leaves the server drained.
"""

from __future__ import annotations

import http.client
import time
from contextlib import suppress
from typing import NamedTuple

from rich.console import Console

from wavstream.cli.health import get
from wavstream.errors import NO_ROOM, DiskFull, OperatorError, WavstreamError
from wavstream.model.hosts import UNIX, reached_at
from wavstream.service.data_folder import DataFolder
from wavstream.service.drain import Stage, ask
from wavstream.settings import Settings

LOOK_S = 0.5
HANDED_OVER_S = 30.0
"""How long a hand-over may take: the journals are copied, and what was stopped is finished."""
ENDED_S = 60.0
"""How long the end of the server may take; usually it is well under a second."""
TAKEN_BACK_S = 10.0


class Left(NamedTuple):
    """How far a drain is."""

    stage: int
    sessions: int
    files: int

    def __str__(self) -> str:
        return f"{_count(self.sessions, 'session')}, {_count(self.files, 'unfinished file')}"


class Draining:
    """The drain of the server of one data folder."""

    def __init__(self, folder: DataFolder, settings: Settings, console: Console) -> None:
        """Raise OperatorError unless a server uses the folder."""
        self._folder = folder
        self._console = console
        self._has_others = settings.cluster.nats_url is not None
        places = folder.places()
        if places is None:
            raise OperatorError(
                f"no server uses the data folder {folder.root.resolve()}: there is nothing to drain; name the folder "
                "as its server has it, by WAVSTREAM_DATA_DIR or --config"
            )
        self._url = _url(places, settings)

    def drain(self, *, wait_s: float, stops: bool) -> None:
        """Return when nothing is left; raise WavstreamError if something is after ``wait_s``, and nobody to take it."""
        self._ask(Stage.DRAIN)
        left = self._wait_until_empty(Stage.DRAIN, wait_s)
        if left is not None and self._has_others:
            self._say(f"{left} after {wait_s:g} s: they are handed over")
            self._ask(Stage.HAND_OVER)
            left = self._wait_until_empty(Stage.HAND_OVER, HANDED_OVER_S)
        if left is not None:
            raise WavstreamError(
                f"{left} after {wait_s:g} s: the server stays drained, and they go on; wait once more, stop it (they "
                "go on at its next start), or have it take calls again with --undo"
            )
        self._say("nothing is left")
        if stops:
            self._ask(Stage.END)
            if not self._wait_for_end(ENDED_S):
                raise WavstreamError(f"the server has not ended after {ENDED_S:g} s: its log says why")
            self._say("the server has ended")

    def take_back(self) -> None:
        """Have the server take calls again, and return when it does."""
        self._folder.drain.unlink(missing_ok=True)
        until_s = time.monotonic() + TAKEN_BACK_S
        while (left := self._look()) is None or left.stage:
            if left is not None and left.stage >= Stage.HAND_OVER:
                raise WavstreamError("the server has handed its sessions over: start it again")
            if time.monotonic() > until_s:
                raise WavstreamError(f"the server has not answered for {TAKEN_BACK_S:g} s: its log says why")
            time.sleep(LOOK_S)
        self._say("the server takes calls again")

    # ---- the server --------------------------------------------------------------------------------------------

    def _ask(self, stage: Stage) -> None:
        try:
            ask(self._folder.drain, stage)
            self._folder.keep_owner()
        except OSError as error:
            told = f"{self._folder.drain} cannot be written ({error.strerror})"
            if error.errno in NO_ROOM:
                raise DiskFull(
                    f"{told}: free space on its disk, or end the server with SIGTERM"
                    f"{', which hands its sessions over too' if self._has_others else ''}"
                ) from error
            raise OperatorError(f"{told}: run this as the user of the server") from error

    def _wait_until_empty(self, stage: Stage, wait_s: float) -> Left | None:
        """Return None when the server is at the stage and nothing is left; what is, if that takes longer."""
        until_s = time.monotonic() + wait_s
        told: Left | None = None
        while True:
            left = self._look()
            if left is not None and left.stage >= stage and not left.sessions and not left.files:
                return None
            if left is None and self._folder.places() is None:
                raise WavstreamError("the server ended before nothing was left: what ran goes on at its next start")
            if left is not None and left.stage >= stage and left != told:
                told = left
                self._say(f"{left} left")
            if time.monotonic() >= until_s:
                if (known := left or told) is None:
                    raise WavstreamError(f"the server has not answered for {wait_s:g} s: its log says why")
                return known
            time.sleep(min(LOOK_S, max(0.0, until_s - time.monotonic())))

    def _wait_for_end(self, wait_s: float) -> bool:
        until_s = time.monotonic() + wait_s
        while self._folder.places() is not None:
            if time.monotonic() > until_s:
                return False
            time.sleep(LOOK_S)
        return True

    def _look(self) -> Left | None:
        """Return how far the server is; None if it does not answer now."""
        try:
            status, body = get(self._url, "/metrics")
        except (OSError, http.client.HTTPException):
            return None
        found: dict[str, int] = {}
        for line in body.decode(errors="replace").splitlines() if status == 200 else ():
            name, _, value = line.rpartition(" ")
            with suppress(ValueError):
                found[name] = int(float(value))
        try:
            left = [found[f'wavstream_drain_left{{what="{what}"}}'] for what in ("sessions", "files")]
            return Left(found["wavstream_drain_stage"], *left)
        except KeyError:  # a server of several workers whose first is being started again
            return None

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _url(places: list[str], settings: Settings) -> str:
    """Return where the server is reached from this machine; raise OperatorError if its lock does not say."""
    unix = next((place for place in places if place.startswith(UNIX)), None)
    port = next((place for place in places if place.isdecimal()), None)
    host = next((each for each in settings.hosts if not each.startswith(UNIX)), None)
    if port is not None and host is not None:
        address = reached_at(host)
        return f"http://{f'[{address}]' if ':' in address else address}:{port}"
    if unix is None:
        raise OperatorError("the server is being started, and does not say where it listens: try again")
    return unix


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
