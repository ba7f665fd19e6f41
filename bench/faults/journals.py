"""Damaged journals: one byte of a small one, and whole segments; then a start, which recovers what is left.

1. A server records many short calls and is killed. Each call has a journal of its own, in several small segments, and
   each gets damage of its own. Then one start recovers them all.
2. Which frames were in a journal, and in which batch, is read from its bytes: frames are raw audio that the bench
   knows, and a batch begins with its magic. Whatever the format adds, this stays so.
3. A damaged byte may cost the frames of its batch and no other. A missing or foreign segment may cost what was in it.
   Files that are not journals cost nothing, and the start neither fails nor waits for them.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.faults.calls import Call
from bench.faults.heard import said_by
from bench.faults.report import Report
from bench.faults.sender import Sender
from bench.faults.victim import DidNotStart, Victim
from wavstream.journal.batches import MAGIC_2 as MAGIC_2
from wavstream.journal.records import SEGMENT_MAGIC
from wavstream.simulator.signal import make_ring

_CALLS = 24
_TALK_S = 1.2
_SEGMENT_BYTES = 12_288
_SOUND_SHARE = 0.25
"""Of the damaged bytes, those that may be sound: most of a journal is, and one byte of sound is like another."""


@dataclass(slots=True)
class _Journal:
    """The segments of a call, and which frames are where."""

    call: Call
    segments: list[Path]
    content: list[bytes] = field(default_factory=list)
    frames: list[list[tuple[int, str, int]]] = field(default_factory=list)
    """By segment: (offset, leg, number of the frame)."""

    def batch_of(self, segment: int, offset: int) -> tuple[int, int]:
        """Return where the batch of a byte begins and ends; before the first one is the segment's header."""
        content = self.content[segment]
        begin = content.rfind(MAGIC_2, 0, offset + len(MAGIC_2))
        end = content.find(MAGIC_2, offset + 1)
        return max(begin, 0), len(content) if end < 0 else end

    def within(self, segment: int, first: int, last: int) -> set[tuple[str, int]]:
        """Return the frames between two offsets of a segment."""
        return {(leg, number) for offset, leg, number in self.frames[segment] if first <= offset < last}


async def journal_scenario(report: Report, *, seed: int, rounds: int) -> None:
    """Damage so many times as many journals as a server has calls here."""
    drawn = random.Random(f"journals {seed}")
    for number in range(rounds):
        await _round(report, drawn, when=f"round {number} of seed {seed}")
        report.say(f"damaged journals: {number + 1} of {rounds}")


async def _round(report: Report, drawn: random.Random, *, when: str) -> None:
    with tempfile.TemporaryDirectory(prefix="wavstream-faults-") as name:
        victim = Victim(Path(name), journal__segment_bytes=_SEGMENT_BYTES, reconnect_wait_s=0)
        sender = Sender(victim.port)
        try:
            await victim.start()
            journals = await _recorded(victim, sender)
            damages = [_DAMAGES[number % len(_DAMAGES)] for number in range(len(journals))]
            texts = {}
            for journal, (fault, damage) in zip(journals, damages, strict=True):
                lost, text = damage(drawn, journal)
                _require(journal, lost)
                texts[journal.call.session_id] = f"{when}, {text}"
                report.injected(f"journal: {fault}")
            report.injected("journal: the start")
            try:
                await victim.start()
            except DidNotStart as dead:
                report.fell("journal: the start", f"{when}: {dead}")
                await victim.end()
                _clear_odd(victim.data_dir / "journal", journals)
                try:
                    await victim.start()
                except DidNotStart as dead_again:
                    report.fell("journal: the start", f"{when}, without the odd files: {dead_again}")
                    return
            for journal, (fault, _) in zip(journals, damages, strict=True):
                report.add(f"journal: {fault}", await journal.call.check(), when=texts[journal.call.session_id])
            victim.read_log()
            for text in dict.fromkeys((*victim.blame.server_errors, *victim.blame.tracebacks)):
                report.fell("journal: the start", f"{when}: {text}")
        finally:
            await victim.close()
            sender.close()


async def _recorded(victim: Victim, sender: Sender) -> list[_Journal]:
    """Record calls, kill the server, and read what is in the journals."""
    calls = [Call(victim, sender, label=f"journal {number}") for number in range(_CALLS)]
    for call in calls:
        call.speak()
    await asyncio.gather(*(call.streaming() for call in calls))
    await asyncio.gather(*(call.start() for call in calls))
    await asyncio.sleep(_TALK_S)
    sender.forget([leg for call in calls for leg in call.legs])
    victim.kill()
    ring = make_ring()
    files = sorted((victim.data_dir / "journal").iterdir())
    contents = {file: file.read_bytes() for file in files}
    journals = []
    for call in calls:
        spoken = sender.spoken(call.legs)
        frames = {leg: said_by(each, ring) for leg, each in spoken.items()}
        wanted = {
            frames[leg][number].tobytes(): (leg, number)
            for leg, each in spoken.items()
            for number in np.flatnonzero(~np.isnan(each.sent_s)).tolist()
        }
        journal = _Journal(call, [])
        # The session's id is in the header of its segments, which tells whose they are.
        for file in files:
            if f'"{call.session_id}"'.encode() in contents[file][:4096]:
                journal.segments.append(file)
                journal.content.append(contents[file])
                journal.frames.append(
                    [(at, *named) for frame, named in wanted.items() if (at := contents[file].find(frame)) >= 0]
                )
        journals.append(journal)
    return [journal for journal in journals if journal.segments]


def _clear_odd(folder: Path, journals: Sequence[_Journal]) -> None:
    """Take away what is no journal of a call, so that a start that failed for it is not the end of the round."""
    ours = {segment for journal in journals for segment in journal.segments}
    for file in folder.iterdir():
        if file not in ours:
            file.unlink()


def _require(journal: _Journal, lost: set[tuple[str, int]]) -> None:
    """Require exactly the frames that the journal had and that the damage may not have cost."""
    call = journal.call
    spoken = call.sender.spoken(call.legs)
    here = {named[1:] for frames in journal.frames for named in frames} - lost
    call.windows = [
        (float(spoken[leg].sent_s[number]), float(np.nextafter(spoken[leg].sent_s[number], np.inf)), "required")
        for leg, number in here
    ]


_Damaged = tuple[set[tuple[str, int]], str]
"""The frames that it may cost, and what it is."""
Damage = Callable[[random.Random, _Journal], _Damaged]


def _a_byte(drawn: random.Random, journal: _Journal) -> _Damaged:
    segment = drawn.randrange(len(journal.segments))
    content = journal.content[segment]
    while True:
        offset = drawn.randrange(len(content))
        in_sound = any(at <= offset < at + 320 for at, *_ in journal.frames[segment])
        if not in_sound or drawn.random() < _SOUND_SHARE:
            break
    return _change(journal, segment, offset, content[offset] ^ drawn.randrange(1, 256))


def _a_header_byte(drawn: random.Random, journal: _Journal) -> _Damaged:
    segment = drawn.randrange(len(journal.segments))
    end = max(journal.content[segment].find(MAGIC_2), 1)
    offset = drawn.randrange(end)
    return _change(journal, segment, offset, journal.content[segment][offset] ^ drawn.randrange(1, 256))


def _a_start_byte(drawn: random.Random, journal: _Journal) -> _Damaged:
    """Damage the batch with the start record, which is where the recording's id is."""
    recording = journal.call.recording
    assert recording is not None
    at = journal.content[0].find(recording["id"].encode())
    offset = drawn.randrange(at, at + len(recording["id"])) if at >= 0 else drawn.randrange(len(journal.content[0]))
    return _change(journal, 0, offset, journal.content[0][offset] ^ drawn.randrange(1, 256))


def _change(journal: _Journal, segment: int, offset: int, byte: int) -> _Damaged:
    content = bytearray(journal.content[segment])
    content[offset] = byte
    journal.segments[segment].write_bytes(content)
    begin, end = journal.batch_of(segment, offset)
    text = f"byte {offset} of {len(content)} of segment {segment + 1} of {len(journal.segments)}"
    return journal.within(segment, begin, end), text


def _missing(drawn: random.Random, journal: _Journal) -> _Damaged:
    segment = drawn.randrange(len(journal.segments))
    journal.segments[segment].unlink()
    return journal.within(segment, 0, 1 << 40), f"segment {segment + 1} of {len(journal.segments)} is gone"


def _exchanged(drawn: random.Random, journal: _Journal) -> _Damaged:
    """Exchange two segments of one journal; where it has one, nothing is done."""
    if len(journal.segments) < 2:
        return set(), "one segment: nothing to exchange"
    one, other = drawn.sample(range(len(journal.segments)), 2)
    journal.segments[one].write_bytes(journal.content[other])
    journal.segments[other].write_bytes(journal.content[one])
    lost = journal.within(one, 0, 1 << 40) | journal.within(other, 0, 1 << 40)
    return lost, f"segments {one + 1} and {other + 1} are exchanged"


def _of_another_version(drawn: random.Random, journal: _Journal) -> _Damaged:
    """Put a segment of another version, with a right checksum, beside it under a key of its own."""
    body = b'{"key":"x","new":true}'
    head = struct.pack("<8sHH", SEGMENT_MAGIC, 999, len(body)) + body
    _beside(journal, drawn).write_bytes(head + struct.pack("<I", zlib.crc32(head)) + drawn.randbytes(200))
    return set(), "a segment of version 999 beside it"


def _copied(drawn: random.Random, journal: _Journal) -> _Damaged:
    _beside(journal, drawn).write_bytes(journal.content[0])
    return set(), "a copy of its first segment under another key beside it"


def _fifo(drawn: random.Random, journal: _Journal) -> _Damaged:
    os.mkfifo(_beside(journal, drawn))
    return set(), "a FIFO beside it"


def _noise(drawn: random.Random, journal: _Journal) -> _Damaged:
    _beside(journal, drawn).write_bytes(drawn.randbytes(drawn.choice((0, 3, 5_000))))
    return set(), "a file of noise beside it"


def _beside(journal: _Journal, drawn: random.Random) -> Path:
    """Return the name of a segment of another journal, as the product names them: another key in the same pattern."""
    name = journal.segments[0].name
    key = name[:12]
    return journal.segments[0].with_name("".join(drawn.choice("0123456789abcdef") for _ in key) + name[12:])


_DAMAGES: tuple[tuple[str, Damage], ...] = (
    ("a damaged byte", _a_byte),
    ("a damaged byte of a segment's header", _a_header_byte),
    ("a damaged start record", _a_start_byte),
    ("a damaged byte", _a_byte),
    ("a missing segment", _missing),
    ("exchanged segments", _exchanged),
    ("a damaged byte", _a_byte),
    ("odd files beside it", _of_another_version),
    ("odd files beside it", _copied),
    ("a damaged byte", _a_byte),
    ("odd files beside it", _fifo),
    ("odd files beside it", _noise),
)
