"""What a journal says again: who reads it misses nothing that lasts, though the record that said it is damaged.

A session writes its whole state (``SessionState``) at the start of each segment and once a minute. Whoever has read all
before has nothing to learn from it. Whoever has not is told what is missing, in the events that say it at other times:

1. A recording that was not said to start has started: at its own time, with the streams that are there now.
2. A stream that was not said to open has opened; one that is not there any more was lost.
3. A recording is paused, or goes on, though that was not said: until then it was as the last event says.

A recording that the catalog knows, and whose start lies in a damaged part, has started with the streams that are known.

Where a part is damaged, the record of a pause may have been in it, and whoever asked for that pause must not be heard:

4. A recording that turns out to have been paused behind the damage, and was not said to be, counts as paused since the
   damage began. A state tells it, a resume, a pause that is noted again, or a stop within a pause. The pause that is
   told then has that moment in ``since_us`` (see ``amendments``). What begins behind the damage begins there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from wavstream.journal.events import (
    RecordingPaused,
    RecordingResumed,
    RecordingStarted,
    RecordingStopped,
    ServerStarted,
    SessionState,
    StreamClosed,
    StreamFacts,
    StreamOpened,
    StreamSnapshot,
)
from wavstream.journal.records import Damage, EventRecord, Item
from wavstream.model.recording import Recording, Status
from wavstream.model.times import unix_us


class Restated:
    """What the events so far have told of a session."""

    def __init__(self, known: Iterable[Recording] = ()) -> None:
        """Begin with nothing; ``known``: recordings that may have lost their start."""
        self._known = [(unix_us(each.started_at), each) for each in known if each.started_at is not None]
        self._recordings: dict[str, bool] = {}
        """Whether each is paused."""
        self._doubted_us: dict[str, int] = {}
        """Since when each may have been paused or resumed without a word of it."""
        self._streams: dict[int, StreamFacts] = {}
        """The open ones, by number."""

    def take(self, record: EventRecord) -> Sequence[Item]:
        """Return the event, or what its session's state tells that was not told before."""
        event = record.event
        if isinstance(event, SessionState):
            missed = [*self._missed(event, record.arrival_us)]
            for each in missed:
                self._learn(each)
            self._doubted_us = {}
            return missed
        told = self._with_lost_pause(record)
        for each in told:
            self._learn(each)
        return told

    def after_damage(self, damage: Damage) -> Sequence[Item]:
        """Return the starts of known recordings that lie in the damaged part."""
        missed: list[Item] = []
        for started_us, recording in self._known:
            if recording.id not in self._recordings and damage.after_us <= started_us <= damage.arrival_us:
                if recording.status is Status.PAUSED:  # it did not begin so: the row says since when
                    recording = replace(recording, status=Status.ONGOING)
                start = RecordingStarted(recording=recording, streams=(), leg_order=())
                missed.append(EventRecord(started_us, start))
                missed += [EventRecord(started_us, StreamOpened(facts=facts)) for facts in self._streams.values()]
                self._recordings[recording.id] = False
                self._doubted_us[recording.id] = started_us + 1
        for recording_id in self._recordings:
            # The last thing before the damage may have the same moment, and was not within the pause.
            self._doubted_us.setdefault(recording_id, damage.after_us + 1)
        return missed

    def _with_lost_pause(self, record: EventRecord) -> Sequence[EventRecord]:
        """Return the record, with the pause that it shows to have been lost (rule 4)."""
        event = record.event
        if not isinstance(event, RecordingPaused | RecordingResumed | RecordingStopped):
            return (record,)
        doubted_us = self._doubted_us.get(event.recording_id)
        if doubted_us is None or self._recordings.get(event.recording_id) is not False:
            return (record,)
        if isinstance(event, RecordingPaused):
            if event.begins:
                return (record,)
            since_us = doubted_us if event.since_us is None else min(event.since_us, doubted_us)
            return (EventRecord(record.arrival_us, msgspec.structs.replace(event, since_us=since_us)),)
        if isinstance(event, RecordingStopped) and not event.paused:
            return (record,)
        pause = RecordingPaused(recording_id=event.recording_id, journaled=True, since_us=doubted_us)
        return (EventRecord(record.arrival_us, pause), record)

    def _learn(self, item: Item) -> None:
        event = item.event if isinstance(item, EventRecord) else None
        match event:
            case RecordingStarted(recording=recording, streams=streams):
                self._recordings[recording.id] = recording.status is Status.PAUSED
                self._streams = {each.facts.stream: each.facts for each in streams}
            case RecordingStopped(recording_id=recording_id):
                self._recordings.pop(recording_id, None)
                self._doubted_us.pop(recording_id, None)
            case RecordingPaused(recording_id=recording_id):
                self._recordings[recording_id] = True
                self._doubted_us.pop(recording_id, None)
            case RecordingResumed(recording_id=recording_id):
                self._recordings[recording_id] = False
                self._doubted_us.pop(recording_id, None)
            case StreamOpened(facts=facts):
                self._streams[facts.stream] = facts
            case StreamClosed(stream=stream):
                self._streams.pop(stream, None)
            case ServerStarted():
                self._streams = {}

    def _missed(self, state: SessionState, now_us: int) -> Iterable[Item]:
        streams = {each.facts.stream: each for each in state.streams}
        opened, closed = streams.keys() - self._streams.keys(), self._streams.keys() - streams.keys()
        yield from (EventRecord(now_us, StreamClosed(stream=number, clean=False)) for number in sorted(closed))
        yield from (EventRecord(now_us, StreamOpened(facts=streams[number].facts)) for number in sorted(opened))
        for recording in state.recordings:
            is_paused, was_paused = recording.status is Status.PAUSED, self._recordings.get(recording.id)
            started_us = now_us if recording.started_at is None else unix_us(recording.started_at)
            if was_paused is None:
                was_paused = False
                since_start = tuple(_as_at(each, started_us, now_us) for each in state.streams)
                start = RecordingStarted(recording=recording, streams=since_start, leg_order=state.leg_order)
                yield EventRecord(started_us, start)
                yield Damage(started_us, now_us)
            if is_paused and not was_paused:
                pause = RecordingPaused(
                    recording_id=recording.id,
                    journaled=True,
                    behavior=recording.options.pause_behavior,
                    since_us=self._doubted_us.get(recording.id),
                )
                yield EventRecord(now_us, pause)
            elif was_paused and not is_paused:
                yield EventRecord(now_us, RecordingResumed(recording_id=recording.id))


def _as_at(stream: StreamSnapshot, started_us: int, now_us: int) -> StreamSnapshot:
    """Return the stream as it was then, as near as is known: what it has sent since is missing."""
    since_us = now_us - max(started_us, stream.joined_us)
    position = max(0, stream.position - since_us * stream.facts.format.rate_hz // 1_000_000)
    return msgspec.structs.replace(stream, position=position)
