"""Where every sample of a torture call came to lie, against the truth.

1. A file's channel is read in *runs*: from where samples are not zero, the noise is followed for as long as it agrees
   to the bit. Behind silence or a jump a run begins with a frame, which is looked up by its first samples; only where a
   frame was cut, the noise is searched for them.
2. A track whose clock drifts is stretched. Its pieces are found by correlation: where the last one was, then near it,
   then in the whole file.
3. A piece is 0.1 s of what was said without a break, or what is left of that. Its error is that of its beginning or its
   end, whichever is worse. A piece of which nothing is found is lost.
4. What was sent and is neither in the file nor counted in the receipt, or is there and counted, breaks the account.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tests.support.folding import folded
from wavstream.model.audio import Channel

if TYPE_CHECKING:
    from tests.support.folding import Folded
    from tests.support.torture import Heard, TortureCall
    from tests.support.torture_senders import Ints

Samples: TypeAlias = NDArray[np.int16]
Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]

_S = 1_000_000
_PIECES_PER_S = 10
_KEY = 8
_FOUND = 0.5
"""Of the correlation of a piece with itself. What is not it stays below 0.2."""
_NEAR_S = (0.004, 0.1)
_ROUNDED_US = 4_000
"""Each of the four counts is rounded down to a millisecond."""


@dataclass(slots=True)
class TrackResult:
    """How well one track is in the file."""

    model: str
    errors_ms: Floats
    """Of each piece that was found; positive: too late."""
    at_s: Floats
    """Where each of those is in the recording, in truth."""
    lost_ms: float
    doubled_ms: float
    foreign_ms: float = 0.0
    """What is in the channel and was not said by it."""


@dataclass(slots=True)
class CallResult:
    """How well one call is in its file."""

    number: int
    sender: str
    link: str
    clock: str
    why_unknowable: tuple[str, ...]
    parameters: dict[str, float | int | str]
    tracks: list[TrackResult] = field(default_factory=list)
    unaccounted_ms: float = 0.0
    """Sent, and neither in the file nor counted; negative: both. 0: within the rounding."""
    counted: dict[str, int] = field(default_factory=dict)
    """The counts of the receipt that are not zero."""

    @property
    def is_knowable(self) -> bool:
        return not self.why_unknowable

    @property
    def worst_ms(self) -> float:
        return max((float(np.abs(track.errors_ms).max()) for track in self.tracks if len(track.errors_ms)), default=0)

    @property
    def lost_ms(self) -> float:
        return sum(track.lost_ms for track in self.tracks)

    @property
    def doubled_ms(self) -> float:
        return sum(track.doubled_ms + track.foreign_ms for track in self.tracks)

    @property
    def badness(self) -> tuple[float, float]:
        """What calls are sorted by: the worst error, and what is lost, doubled or not accounted for."""
        return max(self.worst_ms, self.lost_ms, self.doubled_ms, abs(self.unaccounted_ms)), self.lost_ms


def measure(call: TortureCall) -> CallResult:
    """Fold a call and compare its file with the truth."""
    made = folded(call.script)
    result = CallResult(
        call.number, call.sender, call.link, str(call.clock), call.why_unknowable, dict(call.parameters)
    )
    # The file begins before the recording where something was said before; no public count of the account has that.
    begin = made.fold._output.begin
    sent_us, in_file_us, tolerated_us = 0.0, 0.0, float(_ROUNDED_US)
    for heard in call.heard:
        if not len(heard.noise):
            continue
        channel = np.ascontiguousarray(made.right if heard.channel is Channel.RIGHT else made.left)
        result.tracks.append(track_result(heard, channel, begin))
        sent_us += len(heard.noise) * _S / heard.rate_hz
        in_file_us += int(np.count_nonzero(channel)) * _S / heard.rate_hz
        if heard.is_stretched:
            # A repair is at most 1000 ppm long, and where it interpolates it may make a zero.
            tolerated_us += len(heard.noise) / heard.rate_hz * 2_000
    result.counted = _counts(made)
    counted_us = 1000 * sum(result.counted.get(name, 0) for name in ("late", "paused", "redundant", "before_start"))
    missing_us = sent_us - in_file_us - counted_us
    least_us = _ROUNDED_US - tolerated_us
    if not least_us <= missing_us < tolerated_us:
        result.unaccounted_ms = missing_us / 1000
    return result


def _counts(made: Folded) -> dict[str, int]:
    counts, account = made.integrity, made.account
    all_counts = {
        "late": counts.late_ms,
        "paused": counts.paused_ms,
        "redundant": counts.redundant_ms,
        "before_start": account.before_start_ms,
        "lost": counts.lost_ms,
        "duplicate_frames": counts.duplicate_frames,
        "reordered_frames": counts.reordered_frames,
        "clock_restarts": counts.clock_restarts,
    }
    return {name: count for name, count in all_counts.items() if count}


def pieces_of(heard: Heard) -> tuple[Ints, Ints]:
    """Return the begin and the end of each piece, in samples of what was said (rule 3)."""
    frame_us = heard.frame * _S // heard.rate_hz
    longest = heard.rate_hz // _PIECES_PER_S
    breaks = np.flatnonzero(np.abs(np.diff(heard.begins_us) - frame_us) > frame_us // 100 + 1) + 1
    edges = np.concatenate(([0], breaks, [len(heard.begins_us)])) * heard.frame
    begins = [np.arange(low, high, longest) for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    begin = np.concatenate(begins).astype(np.int64)
    return begin, np.append(begin[1:], edges[-1])


def truth_of(heard: Heard, sample: Ints, begin: int) -> Doubles:
    """Return where samples should be, in samples of a file that begins at ``begin``."""
    frame_at = heard.begins_us[sample // heard.frame].astype(np.float64) * heard.rate_hz / _S
    return np.asarray(frame_at + sample % heard.frame - begin, np.float64)


def track_result(heard: Heard, channel: Samples, begin: int) -> TrackResult:
    """Measure a track in its channel of a file that begins at this sample of the recording."""
    return _stretched(heard, channel, begin) if heard.is_stretched else _exact(heard, channel, begin)


def _exact(heard: Heard, channel: Samples, begin: int) -> TrackResult:
    """Measure a track whose samples are in the file as they were sent (rule 1)."""
    place = np.full(len(heard.noise), -1, np.int64)
    count = np.zeros(len(heard.noise), np.int8)
    foreign = 0
    for at, source, length in runs(heard.noise, heard.frame, channel):
        if source < 0:
            foreign += length
            continue
        place[source : source + length] = np.arange(at, at + length)
        count[source : source + length] += 1
    firsts, ends = pieces_of(heard)
    errors = [np.where(place[at] >= 0, place[at] - truth_of(heard, at, begin), np.nan) for at in (firsts, ends - 1)]
    is_found = ~(np.isnan(errors[0]) & np.isnan(errors[1]))
    first, last = (np.nan_to_num(error[is_found]) for error in errors)
    ms = 1000 / heard.rate_hz
    worst_ms = (np.where(np.abs(first) >= np.abs(last), first, last) * ms).astype(np.float32)
    return TrackResult(
        heard.model,
        worst_ms,
        ((truth_of(heard, firsts[is_found], 0)) / heard.rate_hz).astype(np.float32),
        lost_ms=float(np.count_nonzero(count == 0)) * ms,
        doubled_ms=float(np.maximum(count - 1, 0).sum()) * ms,
        foreign_ms=foreign * ms,
    )


def runs(noise: Samples, frame: int, channel: Samples) -> list[tuple[int, int, int]]:
    """Return what a channel is made of: (where, which sample of the noise it begins with, length); -1: none of it."""
    raw, made = noise.tobytes(), []
    heads = {raw[2 * at : 2 * (at + _KEY)]: at for at in range(0, len(noise), frame)}
    said = np.flatnonzero(channel)
    at = int(said[0]) if len(said) else len(channel)
    while at < len(channel):
        found = _source_at(raw, heads, channel, at)
        if found is None:
            source, length = -1, 1
        else:
            source = found
            length = _agreeing(noise[source:], channel[at:])
        made.append((at, source, length))
        at += length
        if at < len(channel) and channel[at] == 0:
            later = int(np.searchsorted(said, at))
            at = int(said[later]) if later < len(said) else len(channel)
    return made


def _source_at(raw: bytes, heads: dict[bytes, int], channel: Samples, at: int) -> int | None:
    """Return which sample of the noise is here; None: none."""
    key = channel[at : at + _KEY].tobytes()
    source = heads.get(key)
    if source is not None:
        return source
    # A run before may agree by chance with the first samples of the next.
    for back in (1, 2):
        source = heads.get(channel[max(0, at - back) : at - back + _KEY].tobytes()) if at >= back else None
        if source is not None:
            return source + back
    found = raw.find(key)
    while found > 0 and found % 2:
        found = raw.find(key, found + 1)
    return found // 2 if found >= 0 else None


def _agreeing(noise: Samples, channel: Samples) -> int:
    """Return for how long two sequences agree; at least 1."""
    at, block, length = 0, 512, min(len(noise), len(channel))
    while at < length:
        end = min(at + block, length)
        is_same = noise[at:end] == channel[at:end]
        if not is_same.all():
            return max(1, at + int(is_same.argmin()))
        at, block = end, min(2 * block, 1 << 16)
    return max(1, length)


def _stretched(heard: Heard, channel: Samples, begin: int) -> TrackResult:
    """Measure a track that was stretched (rule 2)."""
    sound, noise = channel.astype(np.float32), heard.noise.astype(np.float32)
    firsts, ends = pieces_of(heard)
    truths = truth_of(heard, firsts, begin)
    errors, at_s, lost, off = [], [], 0, 0
    for first, end, truth in zip(firsts.tolist(), ends.tolist(), truths.tolist(), strict=True):
        piece = noise[first:end]
        found = _correlated(sound, piece, round(truth) + off, heard.rate_hz)
        if found is None:
            lost += end - first
            continue
        off = found - round(truth)
        errors.append((found - truth) * 1000 / heard.rate_hz)
        at_s.append((truth + begin) / heard.rate_hz)
    ms = 1000 / heard.rate_hz
    return TrackResult(
        heard.model, np.array(errors, np.float32), np.array(at_s, np.float32), lost_ms=lost * ms, doubled_ms=0.0
    )


def _correlated(sound: Floats, piece: Floats, near: int, rate_hz: int) -> int | None:
    """Return where a piece is in a channel; None: nowhere."""
    power = float(piece @ piece)
    for within_s in (*_NEAR_S, None):
        within = len(sound) if within_s is None else round(within_s * rate_hz)
        low, high = max(0, near - within), min(len(sound), near + within + len(piece))
        if high - low < len(piece):
            continue
        window = sound[low:high]
        values = np.correlate(window, piece, "valid") if within_s is not None else _by_spectrum(window, piece)
        best = int(values.argmax())
        if values[best] >= _FOUND * power:
            return low + best
    return None


def _by_spectrum(window: Floats, piece: Floats) -> Floats:
    size = 1 << (len(window) + len(piece)).bit_length()
    spectrum = np.fft.rfft(window, size) * np.conj(np.fft.rfft(piece, size))
    values: Floats = np.fft.irfft(spectrum, size)[: len(window) - len(piece) + 1].astype(np.float32)
    return values
