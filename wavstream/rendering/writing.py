"""What is placed, on its way from the timeline into the output: at once, or with what is written next.

At each canonical point the call is known a little further, and could be written up to there. To take the samples of
each track, mix, encode, hash and append them costs as much for a second as for four. So what the points of one feed
bring is written in one go. That makes the same file where nothing that is decided meanwhile looks at what is written:

1. the format is WAV, whose bytes do not depend on the blocks in which they come;
2. no pause lasts, or lies ahead; nothing may end or trim the file but its stop; nobody listens; no copy goes ahead;
3. no audio waits that came too late for its place, no track is written out, none is what a leg hears;
4. what is owed is at most 4 s of 8 kHz, so that the minutes of a sender ahead of the clock do not gather in memory.

The point of writing moves at once (``Timeline.reach``): what comes too late for it is late, and what a resampler holds
back is brought out, as if it had been written. Whoever feeds the fold anything but frames and
clock records has what is owed written first, and so has the end of each feed.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from wavstream.model.options import FileFormat

if TYPE_CHECKING:
    from wavstream.rendering.output import Output
    from wavstream.rendering.timeline.timeline import Timeline

_OWED_SAMPLES = 1 << 15


class Writing:
    """The writing of one file."""

    def __init__(self, output: Output, timeline: Timeline) -> None:
        """Write nothing yet.

        The output is opened by whoever decides its rate.
        """
        self._output = output
        self._timeline = timeline
        self._owed: int | None = None
        """Up to where is to be written what is not; None: nothing is owed."""

    def write(self, upto: int, *, may_wait: bool) -> bytes:
        """Write the call up to a sample, and return its bytes; the output may end before.

        ``may_wait``: it is a canonical point of the only fold there is, so it may be owed.
        """
        if upto <= (self._output.written if self._owed is None else self._owed):
            return b""
        if may_wait and self._may_wait(upto):
            self._owed = upto
            self._timeline.reach(upto)
            return b""
        owed = self.write_owed()
        # Once, and not for each part: what is late goes where this write begins.
        self._timeline.settle_late()
        return owed + self._parts(upto)

    def write_owed(self) -> bytes:
        """Write what is owed."""
        upto, self._owed = self._owed, None
        return b"" if upto is None else self._parts(upto)

    def _may_wait(self, upto: int) -> bool:
        """Return whether what is to be written up to a sample may be owed (rules 1 to 4)."""
        output = self._output
        is_short = upto - output.written <= _OWED_SAMPLES
        return is_short and output.file_format is FileFormat.WAV and output.is_plain and self._timeline.is_plain

    def _parts(self, upto: int) -> bytes:
        """Write up to a sample, a part after the other: pauses divide it, and so do the minutes of a burst."""
        output, out = self._output, io.BytesIO()  # not a list that is joined: minutes twice, where a sender is ahead
        for end, pause in output.parts(upto):
            part = output.write(end, self._timeline.take(end), pause=pause)
            if end == upto and not out.tell():  # nearly always it is the only one
                return part
            out.write(part)
            if output.ended is not None:
                break
        return out.getvalue()
