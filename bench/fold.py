"""What folding costs: the processor time of a 20 ms frame from the journal's file to the file in the spool.

    python -m bench.fold [--calls 100] [--seconds 30] [--frames 5]

In one process, with no socket and no loop: stereo calls of two legs, L16 at 8 kHz, whose journals have batches of
150 ms and clock records of 900 ms, grow as a server lets them grow, and are folded in turns of so many clock records,
all calls in turn, so that caches are as cold as in a server. Read ratios of runs that follow each other. What the
waveform takes of it is measured within, so that its share does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.support.journal_script import T0_US
from tests.support.recordings import a_recording
from tests.support.records import frame_record, frames_record
from wavstream.journal.events import RecordingStarted, RecordingStopped, StreamFacts, StreamOpened
from wavstream.journal.reader import JournalReader
from wavstream.journal.records import clock_record, event_record
from wavstream.journal.segments import SegmentFile
from wavstream.model.audio import Codec, MediaFormat, Track, TrackClock
from wavstream.model.options import RecordingOptions
from wavstream.model.recording import EndReason
from wavstream.recorder.growing_waveform import GrowingWaveform
from wavstream.recorder.render_job import RenderJob
from wavstream.rendering.timeline.clock import Patience
from wavstream.rendering.waveform import Waveform
from wavstream.simulator.signal import make_ring

HZ, FRAME, PTIME_US, BATCH_US, CLOCK_US = 8_000, 160, 20_000, 150_000, 900_000


@dataclass
class Call:
    """A call whose journal grows."""

    number: int
    folder: Path
    frames: int
    """In one record."""
    file: SegmentFile = field(init=False)
    job: RenderJob = field(init=False)
    written: int = 0
    """Batches."""
    records: list[tuple[int, int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make all that it will say."""
        key = f"{self.number:032x}"
        row = a_recording(f"rec-{self.number}", RecordingOptions())
        self.file = SegmentFile(self.folder, key=key, app_id="default", session_id="call", segment=1)
        self.job = RenderJob(
            row,
            reader=JournalReader(self.folder, key),
            spool=self.folder / "spool" / f"{key}.wav",
            patience=Patience(),
            on_automatic_end=lambda _end: None,
        )
        self.row = row

    def speak(self, seconds: float, voice: np.ndarray) -> None:
        """Make the records of a call of this length."""
        started = RecordingStarted(recording=self.row, streams=(), leg_order=())
        self.records.append((0, 0, event_record(T0_US, started)))
        for leg in range(2):
            facts = StreamFacts(
                stream=leg + 1, leg="ab"[leg], dialect="pcm", format=MediaFormat(Codec.L16, HZ, 1),
                clock=TrackClock.CONTIGUOUS, tracks=(Track.INBOUND,), first_track=2 * leg,
            )  # fmt: skip
            self.records.append((0, 1 + leg, event_record(T0_US, StreamOpened(facts=facts))))
            first_us = 1_000 + (self.number * 977 + leg * 7_919) % PTIME_US
            for at in range(0, round(seconds * 50), self.frames):
                said = range(at, at + self.frames)
                payloads = [voice[(number + leg * 37 + self.number) % len(voice)].tobytes() for number in said]
                at_us = first_us + (at + self.frames - 1) * PTIME_US
                place = {"track": 2 * leg, "arrival_us": T0_US + at_us, "position": at * FRAME}
                is_one = self.frames == 1
                record = frame_record(payload=payloads[0], **place) if is_one else frames_record(*payloads, **place)
                self.records.append((at_us, 3, record))
        phase_us = self.number * 15_000 % CLOCK_US
        for at_us in range(phase_us + CLOCK_US, round(seconds * 1e6), CLOCK_US):
            self.records.append((at_us, 4, clock_record(T0_US + at_us)))
        end_us = round(seconds * 1e6)
        stop = RecordingStopped(recording_id=self.row.id, reason=EndReason.STOPPED, end_us=T0_US + end_us)
        self.records.append((end_us + 100_000, 5, event_record(T0_US + end_us + 100_000, stop)))
        self.records.sort(key=lambda record: record[:2])
        self.records.reverse()

    def grow(self, until_us: int) -> None:
        """Write what was said up to then, in batches."""
        while self.records and self.records[-1][0] < until_us:
            batch, border_us = [], self.records[-1][0] // BATCH_US * BATCH_US + BATCH_US
            while self.records and self.records[-1][0] < border_us:
                batch.append(self.records.pop()[2])
            self.file.write(self.written, b"".join(batch))
            self.written += 1


class Watch:
    """Adds up the processor time that waveforms take: what is found of a block, and the points that are made of it."""

    def __init__(self) -> None:
        """Measure from now on."""
        self.spent_ns = 0
        self._before = [(of, name, getattr(of, name)) for of, name in ((Waveform, "take"), (GrowingWaveform, "append"))]
        for of, name, does in self._before:
            setattr(of, name, self._measured(does))

    def _measured(self, does: Callable[..., None]) -> Callable[..., None]:
        def measured(*given: object) -> None:
            begun_ns = time.thread_time_ns()
            does(*given)
            self.spent_ns += time.thread_time_ns() - begun_ns

        return measured

    def stop(self) -> None:
        """Measure no more."""
        for of, name, does in self._before:
            setattr(of, name, does)


def measure(*, calls: int, seconds: float, frames: int, clocks: int) -> tuple[float, float]:
    """Return the processor time of a 20 ms frame in microseconds, and what of it the waveform takes."""
    voice = make_ring()[:500]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = [Call(number, folder, frames) for number in range(calls)]
        for call in made:
            call.speak(seconds, voice)
        spent_ns, step_us, watch = 0, clocks * CLOCK_US, Watch()
        for until_us in range(step_us, round(seconds * 1e6) + 4 * step_us, step_us):
            for call in made:
                call.grow(until_us)
            begun_ns = time.thread_time_ns()
            for call in made:
                while call.job.advance():
                    pass
            spent_ns += time.thread_time_ns() - begun_ns
        watch.stop()
        assert all(call.job.is_complete and call.job.size_bytes > seconds * HZ * 4 for call in made)
        for call in made:
            call.job.discard()
    frames_in_all = calls * 2 * seconds * 50
    return spent_ns / 1e3 / frames_in_all, watch.spent_ns / 1e3 / frames_in_all


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--frames", type=int, action="append", help="in one record; may be given again")
    parser.add_argument("--clocks", type=int, default=4, help="clock records between two folds of a call")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for frames in given.frames or [1, 5]:
        figures = [
            measure(calls=given.calls, seconds=given.seconds, frames=frames, clocks=given.clocks)
            for _ in range(given.rounds)
        ]
        told = ", ".join(f"{figure:.2f}" for figure, _ in figures)
        figure, of_waveform = sorted(figures)[len(figures) // 2]
        print(f"{frames} frames a record: {figure:.2f} us a frame ({told}), of which the waveform {of_waveform:.2f}")


if __name__ == "__main__":
    main()
