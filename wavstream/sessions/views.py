"""The documents of live sessions, each of one moment."""

from __future__ import annotations

import numpy as np

from wavstream.model.app import app_name
from wavstream.model.session import Level, RunningRecording, SessionView, Silence, StreamView, TrackPace
from wavstream.model.times import utc
from wavstream.rendering.codecs.decode import decode
from wavstream.rendering.mixer.mix import levels_dbfs
from wavstream.sessions.session import Session
from wavstream.sessions.stream import Stream

STALLED_AFTER_US = 1_000_000
"""A stream that has sent nothing for this long is called stalled."""


def session_view(session: Session, now_us: int) -> SessionView:
    """Return the session as it is now."""
    call = session.call
    return SessionView(
        session_id=session.session_id,
        app_id=app_name(session.app_id),
        from_=call.from_,
        to=call.to,
        direction=call.direction,
        vendor_ids=call.vendor_ids,
        created_at=utc(session.created_us),
        legs=tuple(session.legs.names),
        away=tuple(session.legs.away),
        streams=tuple(_stream_view(stream, now_us) for stream in session.streams),
        recordings=tuple(
            RunningRecording(id=recording.row.id, status=recording.row.status)
            for recording in (*session.recordings.running, *session.recordings.waiting)
        ),
    )


def _stream_view(stream: Stream, now_us: int) -> StreamView:
    facts = stream.facts
    silence = None
    if stream.frames == 0:
        silence = Silence.NOTHING_YET
    elif now_us - stream.last_arrival_us > STALLED_AFTER_US:
        silence = Silence.STALLED
    return StreamView(
        leg=facts.leg,
        dialect=facts.dialect,
        codec=stream.wire_codec or facts.format.codec,
        rate=facts.format.rate_hz,
        clock=facts.clock,
        tracks=facts.tracks,
        channel=facts.channel,
        joined_at=utc(stream.joined_us),
        last_audio_at=utc(stream.last_arrival_us) if stream.frames else None,
        frames=stream.frames,
        received_ms=stream.position * 1000 // facts.format.rate_hz,
        silent_because=silence,
        levels=tuple(_level(stream, index, silence) for index in range(len(facts.tracks))),
        paces=tuple(
            TrackPace(track=track, pace=stream.inspection.pace(index)) for index, track in enumerate(facts.tracks)
        ),
        suspicions=stream.inspection.suspicions,
    )


def _level(stream: Stream, index: int, silence: Silence | None) -> Level:
    form, track = stream.facts.format, stream.facts.tracks[index]
    silent = Level(track=track, rms_dbfs=None, peak_dbfs=None)
    # Interleaved tracks come in the frames of the first.
    frame = stream.latest[index if form.channels == 1 else 0]
    if silence is not None or frame is None or not frame.samples:
        return silent
    if stream.position - frame.position - frame.samples > form.rate_hz * STALLED_AFTER_US // 1_000_000:
        return silent  # the other track of the stream goes on, this one does not
    newest = frame.payload[-len(frame.payload) // frame.messages :]
    samples = decode(form.codec, form.channels, np.frombuffer(newest, np.uint8))
    rms_dbfs, peak_dbfs = levels_dbfs(samples[:, index if form.channels > 1 else 0])
    return Level(track=track, rms_dbfs=rms_dbfs, peak_dbfs=peak_dbfs)
