"""The metrics of a running service, read from its parts at each scrape."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client.core import Metric

from wavstream import __version__
from wavstream.access.authenticator import Authenticator
from wavstream.api.request_counts import RequestCounts
from wavstream.catalog.uploads import UploadBacklog
from wavstream.dialects.events import Reason
from wavstream.dialects.registry import DIALECTS
from wavstream.journal.writer import JournalWriter
from wavstream.listening.live import Live
from wavstream.listening.live_pages import LivePages
from wavstream.media.closing import COUNTED_CODES
from wavstream.media.endpoint import MediaCounters
from wavstream.metrics import Across, MetricSample, MetricType
from wavstream.model.recording import EndReason, Status
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.recovery import Recovery
from wavstream.removals import Removals
from wavstream.retention.sweeper import Sweeper
from wavstream.service.clock_watch import ClockWatch
from wavstream.service.deadlines import Refusal
from wavstream.service.drain import Drain
from wavstream.service.front import Front
from wavstream.service.upload_service import UploadService
from wavstream.sessions.admission import DiskReserve
from wavstream.sessions.opened_streams import OpenedStreams
from wavstream.sessions.quotas import Quota
from wavstream.sessions.registry import Sessions
from wavstream.storage.stores import FinishedFiles
from wavstream.transcription.transcriber import Transcriber, TranscriptionCounts
from wavstream.uploads.programs import ProgramCounts
from wavstream.uploads.uploader import UploadCounts
from wavstream.webhooks.dispatcher import Dispatcher

_REFUSED_WITH = (400, 401, 403, 404, 408, 409, 422, 426, 429, 500, 503)
"""Statuses of handshakes that are refused: of errors, and of what is no handshake (RFC 6455, 4.4)."""


def collect_metrics(
    *,
    counters: MediaCounters,
    front: Front,
    sessions: Sessions,
    writer: JournalWriter,
    recorder: Recorder,
    live: Live,
    pages: LivePages,
    recovery: Recovery,
    removals: Removals,
    files: FinishedFiles,
    sweeper: Sweeper,
    clock_watch: ClockWatch,
    dispatcher: Dispatcher,
    uploads: UploadService | None,
    transcriber: Transcriber | None,
    now: Callable[[], datetime],
    opened: OpenedStreams,
    requests: RequestCounts,
    authenticator: Authenticator,
    reserve: DiskReserve,
    drain: Drain,
) -> Callable[[], Iterable[MetricSample | Metric]]:
    """Return the function that yields every sample of these parts."""

    def read() -> Iterator[MetricSample | Metric]:
        build = {"version": __version__, "python": platform.python_version()}
        text = "1; which wavstream and which Python this is."
        yield MetricSample("wavstream_build_info", text, 1, labels=build, across=Across.MAX)
        yield from _requests(requests, authenticator)
        yield from _ends(recorder)
        text, free_bytes = "Free bytes of the data folder's disk.", reserve.free_bytes or 0
        yield MetricSample("wavstream_disk_free_bytes", text, free_bytes, across=Across.MIN)
        yield from _media(counters)
        for what, count in sessions.all_left_out().items():
            left_out = "What calls had no room for."
            yield MetricSample("wavstream_left_out_total", left_out, count, MetricType.COUNTER, {"what": what})
        for similar in ("no", "yes", "not_looked"):
            waited = "Sessions whose recordings waited for a stream in vain."
            count = sessions.no_stream[similar]
            yield MetricSample("wavstream_no_stream_total", waited, count, MetricType.COUNTER, {"similar": similar})
        for quota in Quota:
            refused = "What apps were refused because of a quota, or of their share of the server."
            count = sessions.quotas.refused[quota]
            yield MetricSample("wavstream_quota_refusals_total", refused, count, MetricType.COUNTER, {"quota": quota})
        yield from _front(front)
        running = sum(len(session.recordings.running) for session in sessions)
        yield MetricSample("wavstream_sessions", "Live sessions.", len(sessions))
        overloaded = float(sessions.load.door.closed_by is not None)
        text = "1 while streams of new calls are refused for load."
        yield MetricSample("wavstream_overloaded", text, overloaded, across=Across.MAX)
        late_apps = sum(door.closed_by is not None for door in sessions.load.doors.values())
        text = "Apps whose new calls are refused: their recordings wait too long to be folded."
        yield MetricSample("wavstream_overloaded_apps", text, late_apps, across=Across.MAX)
        refused = "Streams of new calls that were refused for load."
        yield MetricSample("wavstream_overload_refusals_total", refused, sessions.load.refused, MetricType.COUNTER)
        ratio = max(sessions.load.ratio, reserve.share)
        text = "How much of what the server can do is in use: delays and disk as a share of their limits, the largest."
        yield MetricSample("wavstream_load_ratio", text, ratio, across=Across.MAX)
        yield from _drain(drain)
        unread_s = sessions.reading.unread_us / 1e6
        late = "Seconds in which the server did not read its media sockets, by its own fault."
        yield MetricSample("wavstream_unread_seconds_total", late, unread_s, MetricType.COUNTER)
        yield MetricSample("wavstream_recordings_running", "Recordings that are ongoing or paused.", running)
        unfinished = "Recordings that run or are being finished."
        yield MetricSample("wavstream_recordings_unfinished", unfinished, recorder.unfinished)
        yield MetricSample(
            "wavstream_journal_queued_bytes", "Journal bytes that wait for the disk.", writer.queued_bytes
        )
        failing = float(bool(writer.failing or writer.refused))
        text = "1 while the journal's disk refuses or hangs."
        yield MetricSample("wavstream_journal_failing", text, failing, across=Across.MAX)
        yield MetricSample("wavstream_render_jobs_waiting", "Fold jobs that wait.", recorder.render.waiting)
        yield MetricSample("wavstream_live_listeners", "Who listens to recordings while they are made.", live.listeners)
        slow = "Live listeners that were cut off because they did not keep up."
        yield MetricSample("wavstream_live_cut_off_total", slow, live.cut_off, MetricType.COUNTER)
        yield MetricSample("wavstream_live_pages", "Pages and commands that look at what is live.", pages.pages)
        pending = "Journals of before the last start that are not brought back yet."
        yield MetricSample("wavstream_recovery_pending", pending, recovery.total - recovery.done)
        aside = "Journals, and what is none, that were set aside."
        yield MetricSample("wavstream_journals_set_aside", aside, writer.set_aside.count, across=Across.MAX)
        left = "Files and journals that should be gone, and that the disk or the store does not let go."
        yield MetricSample("wavstream_removals_failing", left, removals.waiting + sweeper.failing)
        for problem in ("gone", "replaced"):
            text = "Times that a file in a store was asked for and was gone there, or another one."
            count = files.wrong[problem]
            yield MetricSample(
                "wavstream_stored_files_wrong_total", text, count, MetricType.COUNTER, {"problem": problem}
            )
        jumped = "Times that the wall clock was put forth or back, by a second or more."
        yield MetricSample(
            "wavstream_clock_jumps_total", jumped, clock_watch.jumps, MetricType.COUNTER, across=Across.MAX
        )
        yield from _webhooks(dispatcher)
        yield from _uploads(uploads, now())
        yield from _transcriptions(transcriber)
        failing = float(opened.trouble is not None)
        text = "1 while the opener cannot be reached."
        yield MetricSample("wavstream_opener_failing", text, failing, across=Across.MAX)

    return read


def _requests(requests: RequestCounts, authenticator: Authenticator) -> Iterator[MetricSample | Metric]:
    for (method, route, status), count in list(requests.answered.items()):
        labels = {"method": method, "route": route, "status": status}
        yield MetricSample("wavstream_http_requests_total", "Requests.", count, MetricType.COUNTER, labels)
    text = "Seconds from a request to the beginning of its answer."
    yield requests.times.family("wavstream_http_request_seconds", text)
    for what in ("key", "token", "signature", "admin_key"):
        wrong = "Wrong keys, stream tokens, signatures and admin keys."
        count = authenticator.refused[what]
        yield MetricSample("wavstream_wrong_keys_total", wrong, count, MetricType.COUNTER, {"what": what})


def _ends(recorder: Recorder) -> Iterator[MetricSample | Metric]:
    # All of them from the start: to Prometheus, what is there for the first time has not grown.
    ended = (Status.AVAILABLE, Status.ABSENT, Status.FAILED)
    reasons = (*(reason.value for reason in EndReason), "none")  # none: it failed before it ended
    ends = {(status.value, reason): 0 for status in ended for reason in reasons} | recorder.outcomes
    for (status, reason), count in ends.items():
        labels = {"status": status, "reason": reason}
        yield MetricSample("wavstream_recordings_total", "Recordings that ended.", count, MetricType.COUNTER, labels)
    text = "Seconds from the stop of a recording until its file is available."
    yield recorder.finish_times.family("wavstream_recording_finish_seconds", text)


def _drain(drain: Drain) -> Iterator[MetricSample]:
    text = "How far a drain is: 0, there is none; 1, nothing new is taken; 2, what ran is handed over; 3, the end."
    yield MetricSample("wavstream_drain_stage", text, drain.stage, across=Across.MIN)
    for what, count in drain.left.items():
        text = "Sessions and unfinished files that a drain waits for."
        yield MetricSample("wavstream_drain_left", text, count, labels={"what": what})


def _front(front: Front) -> Iterator[MetricSample]:
    yield MetricSample("wavstream_connections", "Connections that are open, media WebSockets too.", len(front.open))
    waiting = "Connections that wait for their peers: for a request, or for what is sent to be read."
    yield MetricSample("wavstream_connections_waiting", waiting, front.connections.waiting)
    refused = "Connections that were not taken, or were ended for what their peers did."
    for refusal in Refusal:
        yield MetricSample(
            "wavstream_refused_connections_total",
            refused,
            front.refused[refusal],
            MetricType.COUNTER,
            {"reason": refusal.value},
        )


def _webhooks(dispatcher: Dispatcher) -> Iterator[MetricSample | Metric]:
    outcomes = dispatcher.outcomes
    text = "Seconds from what a webhook tells, or the wish for its replay, until it was taken."
    yield outcomes.times.family("wavstream_webhook_delivery_seconds", text)
    yield MetricSample("wavstream_webhooks_pending", "Webhooks that wait for their delivery.", dispatcher.pending)
    for outcome, count in (("delivered", outcomes.delivered), ("failed", outcomes.failed)):
        tries = "Tries to deliver a webhook."
        yield MetricSample("wavstream_webhook_tries_total", tries, count, MetricType.COUNTER, {"outcome": outcome})
    yield MetricSample(
        "wavstream_webhooks_dead_total", "Webhooks that were given up.", outcomes.dead, MetricType.COUNTER
    )


def _transcriptions(transcriber: Transcriber | None) -> Iterator[MetricSample | Metric]:
    counts, running = TranscriptionCounts(), 0
    if transcriber is not None:
        counts, running = transcriber.counts, transcriber.running
    waiting = "Recordings that wait to be transcribed."
    yield MetricSample("wavstream_transcriptions_pending", waiting, counts.waiting)
    yield MetricSample("wavstream_transcriptions_running", "Recordings that are being transcribed.", running)
    for outcome, count in (
        ("done", counts.done),
        ("failed", counts.failed),
        ("retried", counts.retried),
        ("cancelled", counts.cancelled),
    ):
        text = "Tries to transcribe a recording."
        yield MetricSample("wavstream_transcriptions_total", text, count, MetricType.COUNTER, {"outcome": outcome})
    text = "Seconds of speech that were transcribed."
    yield MetricSample("wavstream_transcribed_speech_seconds_total", text, counts.speech_ms / 1000, MetricType.COUNTER)
    text = "Seconds of CPU that the programs which transcribe took for it."
    yield MetricSample("wavstream_transcription_cpu_seconds_total", text, counts.work_ms / 1000, MetricType.COUNTER)
    text = "Seconds from the wish for a transcript until it is there."
    yield counts.times.family("wavstream_transcription_seconds", text)


def _uploads(uploads: UploadService | None, now: datetime) -> Iterator[MetricSample | Metric]:
    counts, backlog, failing = UploadCounts(), UploadBacklog(), False
    programs = ProgramCounts()
    if uploads is not None:
        uploader = uploads.uploader
        counts, backlog, failing = uploader.counts, uploader.backlog, bool(uploader.failing)
        programs = programs if uploads.programs is None else uploads.programs.counts
    yield MetricSample("wavstream_uploads_pending", "Files that wait to be uploaded.", backlog.count)
    age_s = 0.0 if backlog.since is None else max((now - backlog.since).total_seconds(), 0.0)
    text = "Seconds since the stop of the recording whose file waits longest to be uploaded."
    yield MetricSample("wavstream_uploads_oldest_seconds", text, age_s, across=Across.MAX)
    text = "1 while a store takes nothing."
    yield MetricSample("wavstream_store_failing", text, float(failing), across=Across.MAX)
    for outcome, count in (
        ("first", counts.stored - counts.in_backup),
        ("backup", counts.in_backup),
        ("failed", counts.failed),
        ("taken_back", counts.taken_back),
    ):
        tries = "Tries to upload a file, by the store that took it or how else they ended."
        yield MetricSample("wavstream_uploads_total", tries, count, MetricType.COUNTER, {"outcome": outcome})
    text = "Bytes of the files that were uploaded."
    yield MetricSample("wavstream_uploaded_bytes_total", text, counts.stored_bytes, MetricType.COUNTER)
    yield counts.times.family("wavstream_upload_seconds", "Seconds from a recording's stop until a store has its file.")
    text = "Uploaded files for which the program of storage.on_stored is still to be run."
    yield MetricSample("wavstream_stored_programs_pending", text, programs.waiting)
    for outcome, count in (
        ("succeeded", programs.succeeded),
        ("failed", programs.failed),
        ("given_up", programs.given_up),
    ):
        runs = "Runs of the program of storage.on_stored."
        yield MetricSample("wavstream_stored_programs_total", runs, count, MetricType.COUNTER, {"outcome": outcome})


def _media(counters: MediaCounters) -> Iterator[MetricSample]:
    for name, help_, value in (
        ("wavstream_frames_total", "Media messages with audio.", counters.frames),
        ("wavstream_received_bytes_total", "Payload bytes of media messages.", counters.received_bytes),
        ("wavstream_unsent_total", "Times that audio for a peer that did not read was dropped.", counters.unsent),
        ("wavstream_streams_opened_total", "Streams that started.", counters.streams_opened),
    ):
        yield MetricSample(name, help_, value, MetricType.COUNTER)
    yield MetricSample("wavstream_open_sockets", "Media WebSockets that are open.", counters.open_sockets)
    # All that there can be, from the start, as in `_ends`.
    for name, help_, label, known, counts in (
        ("wavstream_streams_spoken_total", "Streams that started, by dialect.", "dialect", DIALECTS, counters.spoken),
        ("wavstream_ignored_messages_total", "Messages that meant nothing to us.", "reason", Reason, counters.ignored),
        ("wavstream_closed_sockets_total", "Media WebSockets that ended.", "code", COUNTED_CODES, counters.closed),
        ("wavstream_refused_handshakes_total", "Handshakes refused.", "status", _REFUSED_WITH, counters.refused),
    ):
        there = {str(key): 0 for key in known} | {str(key): value for key, value in list(counts.items())}
        for word, count in there.items():
            yield MetricSample(name, help_, count, MetricType.COUNTER, {label: word})
