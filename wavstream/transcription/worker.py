"""The program that transcribes: ``python -m wavstream.transcription.worker``. The server starts it, and speaks to it
over its standard input and output (``wire``). It never imports the server.

1. It has the lowest priority, unless the settings say otherwise, and one thread: what records calls comes first.
2. It is given one file after the other. A file is kept, without a name, in the server's spool folder: where it lies,
   and how it is stored, is the server's to know.
3. A file is read twice: once for where somebody speaks, channel by channel, and then what was said there. So silence
   costs the detector alone, and of a call of four hours there is half a minute in memory.
4. Stretches are worked off in the order of the call, and each is told at once: a server that hears nothing for long
   knows that the engine hangs.
5. It ends when its input does: a server that is gone leaves no program behind for longer than one stretch takes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np
import soundfile

from wavstream.model.options import DEFAULT_SENSITIVITY
from wavstream.rendering.codecs.resample import Resampler
from wavstream.rendering.speech.detector import Detector, frame_start
from wavstream.transcription.engines.base import RATE_HZ, SEGMENT_TIMING, WORD_TIMING, Engine, EngineFailed, checked
from wavstream.transcription.engines.choice import EngineChoice, make_engine
from wavstream.transcription.spans import FRAMES_PER_S, LONGEST_FRAMES, Span, speech_spans
from wavstream.transcription.transcript import HeardSpan
from wavstream.transcription.wire import BrokenOff, Done, Failed, Job, Kind, Progress, read, write

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_S = 10
_PROGRESS_EVERY_S = 0.5
_SAID_CHARACTERS = 300
_ENGINES_OWN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def main() -> int:
    """Work until the input ends; its first line chooses the engine: a key is not to be seen among the processes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries print; what they print is no message
    choice = msgspec.json.decode(sys.stdin.buffer.readline(), type=EngineChoice)
    os.nice(choice.nice)  # rule 1
    worker = Worker(choice, sys.stdin.buffer, answers)
    try:
        while worker.work():
            pass
    except (BrokenOff, BrokenPipeError):  # rule 5
        return 1
    except OSError as error:  # such as a full disk
        sys.stderr.write(f"the file cannot be kept in the spool folder: {error.strerror}\n")
        return 1
    return 0


class Worker:
    """One engine, made for the first file, and the pipes."""

    def __init__(self, choice: EngineChoice, inbox: BinaryIO, answers: BinaryIO) -> None:
        self._choice = choice
        self._inbox = inbox
        self._answers = answers
        self._engine: Engine | None = None
        self._told_at_s = 0.0

    def work(self) -> bool:
        """Transcribe the next file; return False if there is none."""
        message = read(self._inbox)
        if message is None:
            return False
        kind, content = message
        if kind is not Kind.JOB:
            raise BrokenOff("a job was to come")
        job = msgspec.json.decode(content, type=Job)
        with tempfile.TemporaryFile(dir=job.folder or None) as file:  # rule 2
            self._take(file)
            try:
                self._transcribe(file, job)
            except EngineFailed as error:
                self._tell(Kind.FAILED, Failed(str(error), error.is_lasting))
            except soundfile.LibsndfileError as error:
                self._tell(Kind.FAILED, Failed(f"the file is no sound: {error.error_string}", is_lasting=True))
            except MemoryError:
                self._tell(Kind.FAILED, Failed("there is not enough memory", is_lasting=False))
            except BrokenPipeError:
                raise
            except _ENGINES_OWN as error:  # its traceback would be no reason for who asked
                said = f"the engine failed: {type(error).__name__}: {error}"
                self._tell(Kind.FAILED, Failed(said[:_SAID_CHARACTERS], is_lasting=False))
        return True

    def _take(self, file: IO[bytes]) -> None:
        while True:
            message = read(self._inbox)
            if message is None or message[0] is not Kind.FILE:
                raise BrokenOff("the file ended")
            if not message[1]:
                return
            file.write(message[1])

    def _transcribe(self, file: IO[bytes], job: Job) -> None:
        began_s = _cpu_s()
        file.seek(0)
        with soundfile.SoundFile(file) as sound:
            spans = self._find_speech(sound)
            todo = sum(span.end - span.start for _, span in spans)
            done, timing, languages = 0, WORD_TIMING, list[str]()
            if spans and self._engine is None:
                self._engine = make_engine(self._choice)
            for channel, span in spans:
                assert self._engine is not None
                samples = _samples(sound, channel, span)
                heard = checked(self._engine.hear(samples, job.language), span.end_ms - span.start_ms)
                timing = SEGMENT_TIMING if heard.timing == SEGMENT_TIMING else timing
                languages += [heard.language] if heard.language else []
                self._tell(Kind.SPAN, HeardSpan(channel, span.start_ms, span.end_ms, heard.words))  # rule 4
                done += span.end - span.start
                self._tell(Kind.PROGRESS, Progress(100 * done // todo))
        language = job.language or max(sorted(set(languages)), key=languages.count, default=None)
        speech_ms = sum(span.end_ms - span.start_ms for _, span in spans)
        self._tell(Kind.DONE, Done(language, timing, round((_cpu_s() - began_s) * 1000), speech_ms))

    def _find_speech(self, sound: Any) -> list[tuple[int, Span]]:
        """Return where somebody speaks, on which channel, in the order of the call (rule 3)."""
        rate_hz, channels = sound.samplerate, sound.channels
        detectors = [Detector(rate_hz, 1, DEFAULT_SENSITIVITY) for _ in range(channels)]
        verdicts: list[list[NDArray[np.bool_]]] = [[] for _ in range(channels)]
        while len(block := sound.read(_BLOCK_S * rate_hz, dtype="int16", always_2d=True)):
            for detector, found, channel in zip(detectors, verdicts, block.T, strict=True):
                found.append(detector.hear(np.ascontiguousarray(channel)[:, None]))
            if time.monotonic() - self._told_at_s > _PROGRESS_EVERY_S:
                self._tell(Kind.PROGRESS, Progress(0))
        frames = -(-sound.frames * FRAMES_PER_S // rate_hz)
        silence = np.zeros((rate_hz // 5, 1), np.int16)  # settles the verdicts on the last frames
        spans = [
            (channel, span)
            for channel, (detector, found) in enumerate(zip(detectors, verdicts, strict=True))
            for span in speech_spans(np.concatenate([*found, detector.hear(silence)])[:frames])
        ]
        return sorted(spans, key=lambda each: (each[1].start, each[0]))

    def _tell(self, kind: Kind, what: object) -> None:
        self._told_at_s = time.monotonic()
        write(self._answers, kind, msgspec.json.encode(what))


def _samples(sound: Any, channel: int, span: Span) -> NDArray[np.int16]:
    """Return what is heard on a channel in a stretch, at the rate of engines."""
    assert span.end - span.start <= LONGEST_FRAMES
    start, end = (frame_start(frame, sound.samplerate) for frame in span)
    sound.seek(start)
    samples = np.ascontiguousarray(sound.read(end - start, dtype="int16", always_2d=True)[:, channel])
    if sound.samplerate == RATE_HZ:
        return samples
    resampler = Resampler(sound.samplerate, RATE_HZ)
    return np.concatenate((resampler.feed(samples), resampler.finish()))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
