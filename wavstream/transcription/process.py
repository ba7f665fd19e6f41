"""The worker program as the server has it: started when it is needed, given one file after the other, killed when it
hangs. Blocks: for a thread of its own.

1. A program lives as long as it works well. One that fails to answer, says what cannot be, or hangs is killed, and the
   next file has a new one.
2. It hangs when nothing is heard of it for ``limit_s``: it tells of each stretch of speech, and a stretch is half a
   minute at most, so however long a call is, the limit is one for the time that half a minute may take.
3. ``kill`` may be called from any thread, at any time: whoever waits for the program sees it end.
4. It gets none of our settings by its environment, which hold secrets; what it needs comes by its pipe.
5. It has one engine for as long as it lives. For a file that wants another it is ended, and a new one started: two at
   once would be the memory of two.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import msgspec

from wavstream.transcription.engines.base import EngineFailed
from wavstream.transcription.engines.choice import EngineChoice
from wavstream.transcription.transcript import HeardSpan
from wavstream.transcription.wire import (
    HEAD_BYTES,
    BrokenOff,
    Done,
    Failed,
    Job,
    Kind,
    Progress,
    message,
    read_head,
)

COMMAND = (sys.executable, "-m", "wavstream.transcription.worker")
MOST_WORDS = 400_000
"""Of one recording: four hours of the fastest talk are half of it."""
_PIECE_BYTES = 262_144
_LINES_KEPT = 5
_LAST_WORDS_S = 1.0
_LINE_CHARACTERS = 300
_SECRETS = ("WAVSTREAM_", "RECORDING_", "ADMIN_API_KEY", "AWS_", "AZURE_", "GOOGLE_", "PG")


@dataclass(frozen=True, slots=True)
class Result:
    """What the program made of a file."""

    spans: tuple[HeardSpan, ...]
    done: Done


class WorkerProcess:
    """One worker program, or none yet. ``run`` is for one thread, ``kill`` for any."""

    def __init__(self, choice: EngineChoice, *, limit_s: float, command: tuple[str, ...] = COMMAND) -> None:
        """Start nothing yet. ``limit_s``: see rule 2."""
        self._usual = self._choice = choice
        self._limit_s = limit_s
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: deque[str] = deque(maxlen=_LINES_KEPT)
        """The last lines of its standard error."""
        self._lock = threading.Lock()
        self._chosen: subprocess.Popen[bytes] | None = None
        self._ear: threading.Thread | None = None
        self._is_ended = False

    def run(
        self,
        job: Job,
        open_file: Callable[[], IO[bytes]],
        on_progress: Callable[[int], None],
        *,
        choice: EngineChoice | None = None,
    ) -> Result:
        """Return what is said in a file; raise EngineFailed, and what opening and reading the file raises.

        ``on_progress`` is given the percent that is done, on this thread. ``choice``: the engine, where that is another
        than the usual one (rule 5).
        """
        self._choose(choice or self._usual)
        process = self._started()
        try:
            self._send(process, job, open_file)
            return self._receive(process, on_progress)
        except EngineFailed as error:
            if error.is_lasting:
                raise
            self._end(process)  # rule 1
            raise
        except (BrokenOff, BrokenPipeError, msgspec.MsgspecError) as error:
            self._end(process)
            printed = " / ".join(self._printed)
            raise EngineFailed(f"the program that transcribes ended: {printed or error}") from error
        except BaseException:  # half a file is no file: it cannot be given the next one
            self._end(process)
            raise

    def kill(self) -> None:
        """End the program at once, if there is one; the next file has a new one (rule 3)."""
        with self._lock:
            if self._process is not None:
                with suppress(ProcessLookupError):
                    self._process.kill()

    def close(self) -> None:
        """End it for good, and see it end."""
        with self._lock:
            self._is_ended = True
            process = self._process
        if process is not None:
            self._end(process)

    def _choose(self, choice: EngineChoice) -> None:
        """Have the next file heard by this engine: a program that has another ends (rule 5)."""
        with self._lock:
            process = self._process if choice != self._choice else None
        self._choice = choice
        if process is not None:
            self._end(process)

    # ---- within ------------------------------------------------------------------------------------------------

    def _started(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._is_ended:
                raise EngineFailed("the server ends")
            if self._process is not None and self._process.poll() is None:
                return self._process
            try:
                process = subprocess.Popen(
                    self._command,
                    bufsize=0,
                    env=_environment(os.environ),  # rule 4
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineFailed(f"the program that transcribes cannot be started: {error}") from error
            self._process = process
        self._printed.clear()
        self._ear = threading.Thread(target=self._listen, args=(process,), name="transcription-stderr", daemon=True)
        self._ear.start()
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with suppress(OSError), process.stderr as printed:
            while line := printed.readline(_LINE_CHARACTERS):
                if text := line.decode(errors="replace").strip():
                    self._printed.append(text)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a program and forget it."""
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        if self._ear is not None:
            self._ear.join(_LAST_WORDS_S)  # what it started may have its standard error still
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        with self._lock:
            if self._process is process:
                self._process = None

    def _send(self, process: subprocess.Popen[bytes], job: Job, open_file: Callable[[], IO[bytes]]) -> None:
        with open_file() as file:
            if not self._is_chosen(process):
                self._write(process, msgspec.json.encode(self._choice) + b"\n")
            self._write(process, message(Kind.JOB, msgspec.json.encode(job)))
            while piece := file.read(_PIECE_BYTES):
                self._write(process, message(Kind.FILE, piece))
            self._write(process, message(Kind.FILE, b""))

    def _is_chosen(self, process: subprocess.Popen[bytes]) -> bool:
        """Return whether the program knows its engine; from now on it does."""
        was, self._chosen = self._chosen, process
        return was is process

    def _receive(self, process: subprocess.Popen[bytes], on_progress: Callable[[int], None]) -> Result:
        spans, words = list[HeardSpan](), 0
        while True:
            length, kind = read_head(self._read(process, HEAD_BYTES))
            content = self._read(process, length)
            if kind is Kind.PROGRESS:
                on_progress(msgspec.json.decode(content, type=Progress).percent)
            elif kind is Kind.SPAN:
                spans.append(msgspec.json.decode(content, type=HeardSpan))
                words += len(spans[-1].words)
                if words > MOST_WORDS:
                    self._end(process)
                    raise EngineFailed(f"the engine answered more than {MOST_WORDS} words", is_lasting=True)
            elif kind is Kind.DONE:
                return Result(tuple(spans), msgspec.json.decode(content, type=Done))
            elif kind is Kind.FAILED:
                failed = msgspec.json.decode(content, type=Failed)
                raise EngineFailed(failed.error, is_lasting=failed.is_lasting)
            else:
                raise BrokenOff("it said what cannot be")

    def _write(self, process: subprocess.Popen[bytes], content: bytes) -> None:
        assert process.stdin is not None
        left = memoryview(content)
        while left:
            self._wait(process.stdin, select.POLLOUT)
            with suppress(BlockingIOError):
                left = left[os.write(process.stdin.fileno(), left) :]

    def _read(self, process: subprocess.Popen[bytes], count: int) -> bytes:
        assert process.stdout is not None
        content = b""
        while len(content) < count:
            self._wait(process.stdout, select.POLLIN)
            piece = os.read(process.stdout.fileno(), count - len(content))
            if not piece:
                raise BrokenOff("it said nothing more")
            content += piece
        return content

    def _wait(self, pipe: IO[bytes], event: int) -> None:
        """Return when a pipe is ready, or broken; raise EngineFailed if the program hangs (rule 2)."""
        poll = select.poll()  # a server has more descriptors than ``select`` takes
        poll.register(pipe, event)
        if not poll.poll(self._limit_s * 1000):
            raise EngineFailed(f"the engine hangs: nothing was heard of it for {self._limit_s:g} s")


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in ours.items() if not name.upper().startswith(_SECRETS)}
