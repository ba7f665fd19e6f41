"""The torture bench: seeded calls of real senders over real links, with the truth of every sample.

A call is drawn from a seed and its number alone, so that the worst of a thousand can be played again by itself. One leg
has a sender model and a link model; the other, if there is one, talks all the time over a clean link. Each track of
each leg says noise of its own, in which no two stretches are alike, and has a channel of the file to itself.

The truth of a sample is where the timeline's own convention has it when nothing is late: a frame of 20 ms begins where
it arrives, a longer one ends where one of 20 ms would.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tests.support.journal_script import Script
from tests.support.torture_links import LINKS, TWO, Link, draw_link
from tests.support.torture_senders import SENDERS, Ints, Parameters, Sender, draw_sender
from tests.support.torture_truth import unknowable
from wavstream.model.audio import NOMINAL_PTIME_US, Channel, Track, TrackClock
from wavstream.model.options import ChannelLayout, RecordingOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.support.journal_script import Leg

SHORTEST_S = 20.0
LONGEST_S = 180.0
PLAIN = "plain, beside it"
_S = 1_000_000
_LOUDEST = 6000


@dataclass(frozen=True, slots=True)
class Heard:
    """One track as it should be in the file."""

    model: str
    """Of its sender."""
    channel: Channel
    noise: NDArray[np.int16]
    frame: int
    """Samples of a frame."""
    rate_hz: int
    begins_us: Ints
    """Where each frame begins, from the start of the recording."""
    is_stretched: bool


@dataclass(frozen=True, slots=True)
class TortureCall:
    """A call, and what is true of it."""

    seed: int
    number: int
    sender: str
    link: str
    clock: TrackClock
    script: Script
    heard: tuple[Heard, ...]
    why_unknowable: tuple[str, ...]
    parameters: Parameters = field(default_factory=dict)

    @property
    def is_knowable(self) -> bool:
        return not self.why_unknowable


def draw_call(
    seed: int,
    number: int,
    *,
    shortest_s: float = SHORTEST_S,
    longest_s: float = LONGEST_S,
    sender: str | None = None,
    link: str | None = None,
) -> TortureCall:
    """Return a call; a sender or a link that is named is taken instead of the one drawn."""
    rng = np.random.default_rng([seed, number])
    length_s = float(rng.uniform(shortest_s, longest_s))
    # Both are drawn in any case, so that everything else of the call stays the same.
    drawn_sender = str(rng.choice([*SENDERS]))
    links = tuple(str(name) for name in rng.choice([*LINKS][1:], 2, replace=False))
    if rng.random() < 0.8:
        links = (str(rng.choice([*LINKS])),)
    links = (link,) if link is not None else links
    subject = draw_sender(sender or drawn_sender, length_s, rng)
    way = draw_link(links, subject.length_us, rng)
    script = Script().start(RecordingOptions(channels=ChannelLayout.STEREO))
    legs = [_play(script, "a", subject, way, round(rng.uniform(0, 2) * _S), rng)]
    # What a leg is played would be redundant beside another one that speaks.
    has_other = len(subject.tracks) == 1 and bool(rng.random() < 0.5)
    if has_other:
        other = draw_sender("talks all the time", length_s, rng)
        other.rate_hz = subject.rate_hz
        other.tracks.clear()
        other.add(other.due(np.arange(other.slots)))
        legs.append(_play(script, "b", other, Link(other.length_us), round(rng.uniform(0, 2) * _S), rng))
    script.stop(max(leg.closed_us for leg in legs) / _S + float(rng.uniform(0, 2)))
    heard = [track for leg in legs for track in leg.heard]
    parameters: Parameters = {
        "rate": subject.rate_hz,
        "ptime": subject.ptime_ms,
        "length_s": round(length_s, 1),
        "legs": len(legs),
    }
    return TortureCall(
        seed,
        number,
        subject.name,
        links[0] if len(links) == 1 else TWO,
        subject.clock,
        script,
        tuple(heard),
        legs[0].why_unknowable,
        parameters | {"links": "+".join(links)} | subject.parameters | way.parameters,
    )


@dataclass(frozen=True, slots=True)
class _Played:
    heard: tuple[Heard, ...]
    closed_us: int
    why_unknowable: tuple[str, ...]


def _play(script: Script, name: str, sender: Sender, link: Link, joined_us: int, rng: np.random.Generator) -> _Played:
    """Write a leg down; its socket opens at ``joined_us`` from the start of the recording."""
    began_us = joined_us - link.joined_us
    sent_us = np.concatenate([track.sent_us for track in sender.tracks])
    track_of = np.concatenate([np.full(len(track.sent_us), at) for at, track in enumerate(sender.tracks)])
    row_of = np.concatenate([np.arange(len(track.sent_us)) for track in sender.tracks])
    order = np.argsort(sent_us, kind="stable")
    arrival_us = link.carry(sent_us[order], sender.ptime_us // len(sender.tracks), rng)
    stream_of = link.stream_of(arrival_us)
    track_of, row_of = track_of[order], row_of[order]
    noises = [_noise(len(sent.stamps) * sender.frame, rng, is_smooth=sender.is_stretched) for sent in sender.tracks]
    base = int(rng.choice((0, 1_790_000_000 * sender.rate_hz))) if sender.clock is TrackClock.TIMESTAMPED else 0
    # On a new socket counts begin anew; timestamps may, or go on.
    is_anew = sender.clock is not TrackClock.TIMESTAMPED or bool(rng.random() < 0.5)
    for number in range(len(link.outages) + 1):
        rows = np.flatnonzero(stream_of == number)
        opened_us = joined_us if number == 0 else began_us + sorted(link.outages)[number - 1][1]
        stream = _open(script, name, sender, opened_us)
        zero = 0
        if is_anew and number and len(rows):
            zero = min(int(sender.tracks[track_of[row]].stamps[row_of[row]]) for row in rows.tolist())
        for row in rows.tolist():
            track, frame = int(track_of[row]), int(row_of[row])
            at_us = began_us + int(arrival_us[row])
            sound = noises[track][frame * sender.frame : (frame + 1) * sender.frame]
            stream.position = base + int(sender.tracks[track].stamps[frame]) - zero
            stream.frame(sound, at_us=at_us, track=track)
        last_us = began_us + int(arrival_us[rows[-1]]) if len(rows) else opened_us
        if number < len(link.outages):
            noticed_us = began_us + sorted(link.outages)[number][0] + round(rng.uniform(0, 0.4) * _S)
            stream.close(max(last_us, noticed_us) / _S, clean=False)
    closed_us = last_us + round(rng.uniform(0, 0.05) * _S)
    stream.close(closed_us / _S)
    heard, arrivals, streams = [], [], []
    for at, sent in enumerate(sender.tracks):
        arrivals.append(arrival_us[track_of == at])
        streams.append(stream_of[track_of == at])
        channel = Channel.LEFT if (name == "a") == (sent.track is Track.INBOUND) else Channel.RIGHT
        begins_us = began_us + sent.due_us + NOMINAL_PTIME_US - sender.ptime_us
        model = sender.name if name == "a" else PLAIN
        heard.append(Heard(model, channel, noises[at], sender.frame, sender.rate_hz, begins_us, sender.is_stretched))
    return _Played(tuple(heard), closed_us, tuple(unknowable(sender, link, arrivals, streams)))


def _open(script: Script, name: str, sender: Sender, opened_us: int) -> Leg:
    tracks = tuple(track.track for track in sender.tracks)
    facts = script.facts(name, rate_hz=sender.rate_hz, clock=sender.clock, tracks=tracks)
    return script.open(facts, at_s=opened_us / _S)


def _noise(samples: int, rng: np.random.Generator, *, is_smooth: bool) -> NDArray[np.int16]:
    """Return white noise in which no sample is zero: what is zero in the file was not said.

    ``is_smooth``: with little near half the rate, where an interpolation between samples leaves next to nothing.
    """
    values = rng.integers(-_LOUDEST, _LOUDEST, samples + 2, dtype=np.int16)
    if is_smooth:
        values[1:-1] = (values[:-2].astype(np.int32) + 2 * values[1:-1] + values[2:]) // 4
    values[values >= 0] += 1
    return values[1:-1]
