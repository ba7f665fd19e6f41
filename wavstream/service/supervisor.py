"""The supervisor of a server that is several workers: it opens what they share, starts them, and starts them again.

It has no event loop, no thread but that of the log, and none of the server's parts, so that little can go wrong with
it. A worker is forked from it: all modules are there, so one that is started again serves within a moment, where to
import them takes seconds of a core; and it runs the code that the others run, though another version be installed
meanwhile.

1. Worker 0 starts first and alone: it migrates the catalog and makes what there is once. Then the others do. A worker
   that cannot start at this first time ends the whole start with its reason.
2. Later a worker that ends is started again, at once; one that keeps ending within seconds, ever more slowly. Its
   sockets, its inbox and the lock on the data folder stay here meanwhile.
3. A worker hangs that has not beaten for so long while the supervisor itself was awake: each turn of its own counts for
   a second at most. A machine that was frozen comes back with all its workers. One that starts may read many journals
   from a slow disk first.
4. A signal is handed to every worker, each of which ends as a server that is one process does. They are groups of their
   own, so that Ctrl-C in a terminal comes to them this way alone.
"""

from __future__ import annotations

import gc
import logging
import os
import selectors
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import structlog

from wavstream.errors import OperatorError, WavstreamError
from wavstream.service.data_folder import DataFolder, FileId
from wavstream.service.drain import end_drain
from wavstream.service.listeners import Listeners
from wavstream.service.logs import flush
from wavstream.service.migration import lines_of_stores
from wavstream.service.signals import NUMBERS
from wavstream.service.worker_place import BEAT, MESSAGE_BYTES, READY, REFUSED, WorkerStart
from wavstream.settings import Settings
from wavstream.workers.inbox import make_inbox
from wavstream.workers.shared_counts import SharedCounts

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU in so many, or "max": a container's limit (cgroup v2)."""
LONGEST_PAUSE_S = 30.0
_QUICK_S = 10.0
"""Whoever ends sooner after its start keeps ending."""
_START_HANGS_S = 120.0
_TURN_S = 0.5
_AWAKE_S = 1.0

log = structlog.get_logger(__name__)


def usable_cores(cpu_max: Path = CPU_MAX) -> int:
    """Return how many cores this process may use: of those that it may run on, as many as ``cpu_max`` gives it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = cpu_max.read_text("ascii").split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def worker_count(settings: Settings) -> int:
    """Return how many workers the server has; raise OperatorError if this system has no means for more than one."""
    cores = usable_cores()
    count = settings.workers if isinstance(settings.workers, int) else cores
    if count > 1 and not sys.platform.startswith("linux"):
        raise OperatorError("WAVSTREAM_WORKERS: more than one worker needs Linux: set it to 1")
    if count > cores:
        log.warning("more_workers_than_cores", workers=count, cores=cores)
    return count


class AwakeTime:
    """For how long this process has been awake, as far as its own turns tell (rule 3)."""

    def __init__(self, now_s: float) -> None:
        self.s = 0.0
        self._turned_s = now_s

    def turn(self, now_s: float) -> None:
        """Count the turn that ends now, by the monotonic clock."""
        self.s += min(now_s - self._turned_s, _AWAKE_S)
        self._turned_s = now_s


class Pauses:
    """How long to wait before a worker is started again (rule 2)."""

    def __init__(self) -> None:
        self._quick_ends = 0

    def after(self, lived_s: float) -> float:
        """Return the seconds to wait after it has lived for so long."""
        self._quick_ends = self._quick_ends + 1 if lived_s < _QUICK_S else 0
        return min(2.0 ** (self._quick_ends - 2), LONGEST_PAUSE_S) if self._quick_ends > 1 else 0.0


class Worker:
    """One place, and the process that has it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.pid: int | None = None
        """Of its process; None: there is none."""
        self.pidfd = -1
        self.control: socket.socket | None = None
        self.was_started = False
        self.is_ready = False
        self.started_s = 0.0
        self.beaten_s: float | None = None
        """By the supervisor's awake time; None: it has not begun to."""
        self.pauses = Pauses()
        self.due_s: float | None = None
        """When it is to be started, by the monotonic clock; None: it runs, or is not wanted yet."""
        self.refusal: OperatorError | None = None


class Supervisor:
    """Runs the workers of one server until it is told to stop."""

    def __init__(self, settings: Settings, count: int, *, work: Callable[[WorkerStart], int]) -> None:
        """Open the sockets; raise OperatorError. ``work`` is what a worker does, and returns its exit code."""
        self._settings = settings
        self._work = work
        self._folder = DataFolder.of(settings)
        self._listeners = Listeners.open(settings)
        self._inboxes: list[tuple[socket.socket, socket.socket]] = []
        self._counts = -1
        self._catalog: FileId | None = None
        """Which file it is, from when worker 0 has it open."""
        self._workers = [Worker(index) for index in range(count)]
        self._selector = selectors.DefaultSelector()
        self._signals = socket.socketpair()
        """In which the numbers of signals are read, and written."""
        self._awake = AwakeTime(time.monotonic())
        self._is_up = False
        """Whether all workers have been ready once."""
        self._is_stopping = False
        self._failure: WavstreamError | None = None
        """Why the start has failed."""

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; raise OperatorError, or what else keeps a worker from starting."""
        woken, wakes = self._signals
        for each in self._signals:
            each.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        for number in NUMBERS:
            signal.signal(number, self._note)
        self._watch(woken, lambda: self._take_signals(woken))
        try:
            self._folder.claim()
            end_drain(self._folder.drain)
            self._inboxes = [make_inbox() for _ in self._workers]
            self._counts = SharedCounts.create(len(self._workers))
            gc.collect()
            gc.freeze()  # a collection would write to all that workers have in common with us
            self._workers[0].due_s = time.monotonic()
            while not self._is_stopping or any(worker.pid is not None for worker in self._workers):
                self._turn()
        finally:
            self._stop(signal.SIGTERM)  # after a mistake of ours
            self._listeners.close()
            self._folder.release()
        if self._failure is not None:
            raise self._failure
        log.info("server_stopped")

    # ---- a turn ------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        for key, _ in self._selector.select(_TURN_S):
            key.data()
        now_s = time.monotonic()
        self._awake.turn(now_s)
        for worker in self._workers:
            silent_s = 0.0 if worker.beaten_s is None else self._awake.s - worker.beaten_s
            hangs_s = self._settings.workers_hang_s if worker.is_ready else _START_HANGS_S
            if worker.pid is not None and silent_s > hangs_s:
                worker.beaten_s = None
                log.error("worker_hung", worker=worker.index, silent_s=round(silent_s, 1))
                signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
            if worker.due_s is not None and worker.due_s <= now_s and not self._is_stopping:
                self._try_to_start(worker)

    def _watch(self, what: socket.socket | int, act: Callable[[], None]) -> None:
        self._selector.register(what, selectors.EVENT_READ, act)

    def _take_signals(self, woken: socket.socket) -> None:
        with suppress(BlockingIOError):
            for number in woken.recv(4096):
                if number in NUMBERS:
                    self._stop(number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Do nothing: ``set_wakeup_fd`` has the number already, and a handler that is none keeps it from ending us."""

    def _stop(self, number: int) -> None:
        self._is_stopping = True
        for worker in self._workers:
            if worker.pid is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(worker.pidfd, number)

    # ---- a worker ----------------------------------------------------------------------------------------------

    def _try_to_start(self, worker: Worker) -> None:
        worker.due_s, worker.started_s = None, time.monotonic()
        try:
            self._start(worker)
        except OSError as error:  # no process, memory or descriptor is left for it
            if not self._is_up:
                raise OperatorError(f"worker {worker.index} cannot be started: {error.strerror}") from error
            self._start_again(worker, how="cannot be started", error=error.strerror)

    def _start(self, worker: Worker) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lock = self._folder.lock_descriptor
        assert lock is not None
        start = WorkerStart(
            settings=self._settings,
            index=worker.index,
            is_again=worker.was_started,
            listeners=self._listeners,
            lock=lock,
            inbox=self._inboxes[worker.index][0],
            others=tuple(sending for _, sending in self._inboxes),
            counts=self._counts,
            catalog=self._catalog,
            control=theirs,
        )
        flush()  # what is logged and not written would be written twice
        signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
        try:
            pid = _fork()
            if pid == 0:
                ours.close()
                self._be_worker(start)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)
            theirs.close()
        try:
            worker.pidfd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        worker.pid, worker.control = pid, ours
        worker.beaten_s, worker.refusal = None, None
        worker.was_started, worker.is_ready = True, False
        ours.setblocking(False)
        self._watch(ours, lambda: self._hear(worker))
        self._watch(worker.pidfd, lambda: self._ended(worker))

    def _be_worker(self, start: WorkerStart) -> NoReturn:
        """Work, in the process that was forked, and end it: nothing of the supervisor's is done there any more."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in NUMBERS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)
            self._selector.close()
            # As long as another worker had our end, it would not notice that we are gone.
            for each in (*self._signals, *(worker.control for worker in self._workers)):
                if each is not None:
                    each.close()
            os.setpgid(0, 0)  # rule 4
            os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)
            with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:
                name.write(f"wavstream-{start.index}")
            code = self._work(start)
        except BaseException as error:  # noqa: BLE001  It is logged, and the process ends with it.
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            with suppress(BaseException):
                logging.shutdown()
            os._exit(code)

    def _hear(self, worker: Worker) -> None:
        control = worker.control
        if control is None:
            return
        with suppress(BlockingIOError, InterruptedError):
            while True:
                try:
                    said = control.recv(MESSAGE_BYTES)
                except ConnectionResetError:
                    said = b""
                if said == BEAT:
                    worker.beaten_s = self._awake.s
                elif said == READY:
                    worker.is_ready = True
                    self._greet(worker)
                elif said.startswith(REFUSED):
                    _, code, text = said.split(b" ", 2)
                    worker.refusal = OperatorError(text.decode(errors="replace"))
                    worker.refusal.exit_code = int(code)
                elif not said:
                    self._selector.unregister(control)
                    control.close()
                    worker.control = None
                    return

    def _greet(self, worker: Worker) -> None:
        log.info("worker_ready", worker=worker.index, pid=worker.pid)
        if self._is_up:
            return
        if worker.index == 0:  # rule 1
            self._catalog = self._folder.catalog_file
            for each in self._workers[1:]:
                each.due_s = time.monotonic()
        if all(each.is_ready for each in self._workers):
            self._is_up = True
            self._folder.note_places([*self._listeners.places, *lines_of_stores(self._settings.storage)])
            settings = self._settings.model_copy(update={"port": self._listeners.port or self._settings.port})
            log.info(
                "server_ready",
                url=settings.base_url,
                data_dir=str(self._folder.root.resolve()),
                kept_hours=settings.recording_options.retention_hours,
            )

    def _ended(self, worker: Worker) -> None:
        assert worker.pid is not None
        code = os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1])
        self._hear(worker)  # what it said last
        self._selector.unregister(worker.pidfd)
        os.close(worker.pidfd)
        if worker.control is not None:
            self._selector.unregister(worker.control)
            worker.control.close()
        worker.pid, worker.control, worker.pidfd = None, None, -1
        if self._is_stopping:
            return
        SharedCounts(self._counts).forget(worker.index)
        error = None if worker.refusal is None else str(worker.refusal)
        if not self._is_up:
            self._failure = worker.refusal or _ended_early(worker.index, code)
            self._stop(signal.SIGTERM)
            return
        self._start_again(worker, how=_how(code), error=error)

    def _start_again(self, worker: Worker, *, how: str, error: str | None) -> None:
        now_s = time.monotonic()
        pause_s = worker.pauses.after(now_s - worker.started_s)
        log.error("worker_died", worker=worker.index, how=how, error=error, again_in_s=pause_s)
        worker.due_s = now_s + pause_s


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns where there are threads. Those of numpy's library end before a fork; that of the log holds
        # nothing, and a worker makes another.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _ended_early(index: int, code: int) -> WavstreamError:
    error = WavstreamError(f"worker {index} ended during the start ({_how(code)}): the log says why")
    error.exit_code = 1
    return error
