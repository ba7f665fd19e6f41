"""Who may say that the file of an available recording is missing: the node that has it, if it does not come by itself.

A file that was looked for here, and was not found:

1. may be another's: the session has changed hands since. The request goes there.
2. may come: journals are brought back after a restart, the session is being taken over, or the file is made again.
3. may lie at another node: the row names it, whatever is known here of the session. Only that one can look there.

In 2 and 3 whoever asks is to ask again. What is left is missing: someone took it away behind the server's back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from wavstream.errors import LimitReached
from wavstream.model.recording import Recording
from wavstream.recorder.recorder import Recorder
from wavstream.recovery.recovery import Recovery
from wavstream.workers.boundary import RETRY_AFTER_S, Boundary


class MissingFiles:
    """Judges files that were not found. Lives on the event loop."""

    def __init__(
        self,
        *,
        boundary: Boundary,
        recovery: Recovery,
        recorder: Recorder,
        is_taken: Callable[[str], bool] | None = None,
        has_row: Callable[[Recording], Awaitable[bool]] | None = None,
    ) -> None:
        """``is_taken``: whether a session is being brought back here; ``has_row``: whether a row names this node.

        None: there is no cluster.
        """
        self._boundary = boundary
        self._recovery = recovery
        self._recorder = recorder
        self._is_taken = is_taken
        self._has_row = has_row

    async def check(self, recording: Recording) -> None:
        """Return if the recording's file, which is in no store and was not found here, is missing.

        It may have come since it was looked for. Raise Elsewhere (1), LimitReached (2, 3), or DependencyError.
        """
        self._boundary.check_not_elsewhere(recording.session_id)
        if (
            self._recovery.running
            or (self._is_taken is not None and self._is_taken(recording.session_id))
            or self._recorder.get(recording.id) is not None
        ):
            raise LimitReached("The file of the recording is being made again.", retry_after_s=RETRY_AFTER_S)
        if self._has_row is not None and not await self._has_row(recording):
            raise LimitReached(
                "The file of the recording lies at a node that has not handed it on: try again.",
                retry_after_s=RETRY_AFTER_S,
            )
