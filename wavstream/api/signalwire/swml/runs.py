"""The runs of all apps: those that run, each a task, and the newest of those that are over.

1. How many run is bounded, of one call, of one app and in all; so is how many are remembered, and for how long.
2. A run is the task's alone. It ends by itself: with its document, with its call, or when the server shuts down.
3. A run begins with the variables that the last document of the same call has set, so a document that stops or plays a
   recording need not be the one that started it.
4. The worker that has a call has its runs. The id of a run says which one has made it: so whoever is asked for a run
   knows where it is.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta

from wavstream.api.facade import FacadeDependencies
from wavstream.api.signalwire.swml.interpreter import Interpreter
from wavstream.api.signalwire.swml.live_call import REAL_TIME, LiveCall, Time
from wavstream.api.signalwire.swml.run import Run
from wavstream.api.signalwire.swml.verbs import Step
from wavstream.errors import LimitReached, NotFound, TooSoon
from wavstream.model.ids import as_uuid, new_id
from wavstream.sessions.keyed_locks import KeyedLocks

MAX_RUNS_OF_CALL, MAX_RUNS_OF_APP, MAX_RUNS = 10, 1_000, 5_000
"""That run at the same time."""
KEPT, KEPT_FOR = 1_000, timedelta(hours=1)
"""How many that are over are remembered, and for how long."""
RETRY_AFTER_S = 5


class Runs:
    """Runs documents, and remembers what became of them."""

    def __init__(self, parts: FacadeDependencies, interpreter: Interpreter, *, time: Time = REAL_TIME) -> None:
        self._parts = parts
        self._interpreter = interpreter
        self._time = time
        self._turns = KeyedLocks()
        self._running: dict[str, Run] = {}
        self._over: OrderedDict[str, Run] = OrderedDict()
        """In the order of their ends."""
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, program: Sequence[Step], *, app_id: str, call_id: str, project: str | None) -> Run:
        """Begin to run a document on a call; raise LimitReached, or TooSoon where the caller has too many."""
        self._forget_old()
        self._check_room(app_id, call_id)
        run = Run(
            id=self._new_id(),
            app_id=app_id,
            call_id=call_id,
            project=project,
            program=program,
            started_at=self._parts.now(),
        )
        if (earlier := self._last_of(app_id, call_id)) is not None:
            run.inherit(earlier)  # rule 3
        self._running[run.id] = run
        parts = self._parts
        call = LiveCall(
            parts.commands, app_id=app_id, call_id=call_id, turns=self._turns, sounds=parts.sounds, time=self._time
        )
        task = asyncio.create_task(self._run(run, call), name=f"swml {run.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    def get(self, run_id: str, *, app_id: str) -> Run:
        """Return a run of the app; raise NotFound."""
        self._parts.commands.check_made_here(run_id)  # rule 4
        self._forget_old()
        run = self._running.get(run_id) or self._over.get(run_id)
        if run is None or run.app_id != app_id:
            raise NotFound("there is no such run, or it was too long ago")
        return run

    def _new_id(self) -> str:
        """Return the id of a run on a call of this worker (rule 4)."""
        return self._parts.commands.make_here(lambda: as_uuid(new_id()))

    async def _run(self, run: Run, call: LiveCall) -> None:
        try:
            await self._interpreter.run(run, call)
        finally:
            del self._running[run.id]
            self._over[run.id] = run

    def _check_room(self, app_id: str, call_id: str) -> None:  # rule 1
        of_app = [run for run in self._running.values() if run.app_id == app_id]
        if sum(run.call_id == call_id for run in of_app) >= MAX_RUNS_OF_CALL:
            raise TooSoon("as many documents run on the call as may: wait for one to end", retry_after_s=RETRY_AFTER_S)
        if len(of_app) >= MAX_RUNS_OF_APP:
            raise TooSoon("as many documents of yours run as may: wait for one to end", retry_after_s=RETRY_AFTER_S)
        if len(self._running) >= MAX_RUNS:
            raise LimitReached("the server runs as many documents as it may: try again", retry_after_s=RETRY_AFTER_S)

    def _last_of(self, app_id: str, call_id: str) -> Run | None:
        for runs in (self._running, self._over):
            for run in reversed(runs.values()):
                if (run.app_id, run.call_id) == (app_id, call_id):
                    return run
        return None

    def _forget_old(self) -> None:
        oldest = self._parts.now() - KEPT_FOR
        while self._over:
            run = next(iter(self._over.values()))
            if len(self._over) <= KEPT and run.ended_at is not None and run.ended_at >= oldest:
                return
            del self._over[run.id]
