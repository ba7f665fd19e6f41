"""What the workers of one server, or the nodes of a cluster, tell each other, which one process has not to be told.

1. A webhook waits: worker 0 delivers them all.
2. A recording's file is gone: whoever has it, reads it, listens to it or is about to tell of it ends, and what a worker
   keeps of its journal goes. Whoever erases it waits for the others, as it does for its own.
3. An app or a key was changed: each looks at once, and not only when it does so by itself.
4. A session was refused for want of room: each forgets one that is no more than announced, so that the next one, or the
   same again, is let in.
5. A worker that was started again found no link keys and has made some: each takes them, or the links of one would not
   open at another.
6. A file waits to be uploaded: worker 0 uploads them all.
7. A recording waits to be transcribed: worker 0 has them all transcribed.

Of nodes each delivers what it announces (another finds it within ``RESCAN_S`` where it ends before that), and uploads
what it has: rules 1 and 6 are of workers. So is rule 7: the node that does what is done once looks into the catalog.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from wavstream.access.authenticator import Authenticator
from wavstream.catalog.catalog import Catalog
from wavstream.recorder.eraser import JOURNAL_WAIT_S, Eraser
from wavstream.recorder.recorder import Recorder
from wavstream.sessions.registry import Sessions
from wavstream.transcription.transcriber import Transcriber
from wavstream.uploads.uploader import Uploader
from wavstream.webhooks.dispatcher import Dispatcher
from wavstream.workers.boundary import Boundary

WEBHOOK_WAITS = "a webhook waits"
RECORDING_REMOVED = "a recording is removed"
APPS_CHANGED = "apps have changed"
ROOM_IS_WANTED = "room is wanted"
LINK_KEYS_MADE = "link keys are made"
UPLOAD_WAITS = "an upload waits"
TRANSCRIPTION_WAITS = "a transcription waits"


class News:
    """The news of one worker. Lives on the event loop."""

    def __init__(self, boundary: Boundary, *, is_of_nodes: bool = False) -> None:
        """``is_of_nodes``: the others are nodes of a cluster, each of which delivers and uploads what is its own."""
        self._boundary = boundary
        self._is_of_nodes = is_of_nodes

    def of_webhooks(self, catalog: Catalog, dispatcher: Dispatcher) -> None:
        """Have worker 0 deliver what any worker announces (rule 1)."""

        async def wake(app_id: bytes) -> bytes:
            dispatcher.wake(app_id.decode())
            return b""

        if self._is_of_nodes:
            return
        if self._boundary.index == 0:
            self._boundary.answers(WEBHOOK_WAITS, wake)
        else:
            catalog.outbox.on_announced(lambda app_id: self._boundary.tell(0, WEBHOOK_WAITS, app_id.encode()))

    def of_uploads(self, catalog: Catalog, uploader: Uploader) -> None:
        """Have worker 0 upload what any worker publishes (rule 6)."""

        async def wake(_body: bytes) -> bytes:
            uploader.wake()
            return b""

        if self._is_of_nodes:
            return
        if self._boundary.index == 0:
            self._boundary.answers(UPLOAD_WAITS, wake)
        else:
            catalog.recordings.on_queued(lambda: self._boundary.tell(0, UPLOAD_WAITS, b""))

    def of_transcriptions(self, catalog: Catalog, transcriber: Transcriber) -> Callable[[], None]:
        """Have worker 0 transcribe what any worker publishes (rule 7); return what tells it of one more."""

        async def wake(_body: bytes) -> bytes:
            transcriber.wake()
            return b""

        if self._is_of_nodes:
            return transcriber.wake
        if self._boundary.index == 0:
            self._boundary.answers(TRANSCRIPTION_WAITS, wake)
            return transcriber.wake

        def tell() -> None:
            self._boundary.tell(0, TRANSCRIPTION_WAITS, b"")

        catalog.recordings.on_to_transcribe(tell)
        return tell

    def of_removals(
        self,
        eraser: Eraser,
        recorder: Recorder,
        ends: Sequence[Callable[[str], Awaitable[None]]],
        remove_here: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """Have ``ends`` called for each recording that any worker removes (rule 2).

        ``remove_here``: removes its file first, where each node has a disk of its own.
        """

        async def removed(body: bytes) -> bytes:
            recording_id = body.decode()
            if remove_here is not None:
                await remove_here(recording_id)
            for end in ends:
                await end(recording_id)
            recorder.release_failed(recording_id)
            await asyncio.wait((recorder.until_released(recording_id),), timeout=JOURNAL_WAIT_S / 2)
            return b""

        async def tell(recording_id: str) -> None:
            await self._boundary.ask_all(RECORDING_REMOVED, recording_id.encode())

        for end in ends:
            eraser.on_removal(end)
        if not self._boundary.is_alone:
            eraser.on_removal(tell)
            self._boundary.answers(RECORDING_REMOVED, removed)

    def of_apps(self, catalog: Catalog, authenticator: Authenticator) -> None:
        """Have apps and keys looked at by all workers when one of them has changed some (rule 3)."""

        async def changed(_body: bytes) -> bytes:
            await authenticator.refresh()
            await catalog.apps.look_for_webhooks()
            return b""

        if not self._boundary.is_alone:
            self._boundary.answers(APPS_CHANGED, changed)
            catalog.apps.on_change(lambda: self._boundary.tell_all(APPS_CHANGED))

    def of_links(self, reload: Callable[[], Awaitable[None]], *, were_made: bool) -> None:
        """Have link keys read by all workers when this one has made them (rule 5)."""

        async def made(_body: bytes) -> bytes:
            await reload()
            return b""

        self._boundary.answers(LINK_KEYS_MADE, made)
        if were_made:
            self._boundary.tell_all(LINK_KEYS_MADE)

    def of_sessions(self, sessions: Sessions) -> None:
        """Have announced sessions make room for the calls of any worker (rule 4)."""

        async def wanted(app_id: bytes) -> bytes:
            sessions.make_room(app_id.decode() or None)
            return b""

        if not self._boundary.is_alone:
            self._boundary.answers(ROOM_IS_WANTED, wanted)
            sessions.on_full(lambda app_id: self._boundary.tell_all(ROOM_IS_WANTED, (app_id or "").encode()))
