"""What there is to mark on a file: gaps, pauses, trimmed and late audio, in seconds of the file.

A receipt counts in the call, from the beginning of the file. What is marked lies in the file, which may be shorter:

1. a pause that left nothing took its length out of all that is behind it;
2. so did the silence that was trimmed from the beginning;
3. what is behind the end of the file lies at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wavstream.model.document import Document
from wavstream.model.options import PauseBehavior
from wavstream.model.recording import Gap, Integrity, LegReceipt, Pause

_CAUSES = {
    "stall": "nothing came from it for a while",
    "reconnect": "its stream was away, and came back",
    "loss": "its media time jumped: what lies between never came",
    "silence": "its media time jumped: its sender left silence out",
    "damage": "it came, and the journal has lost it",
    "pause": "it was said before a pause, and came in it",
}


class Region(Document):
    """One mark."""

    kind: str
    """gap, pause, trimmed, late, lost or limit."""
    start_s: float | None
    """In the file; null: it has no place in it."""
    end_s: float | None
    """As `start_s` for what is not in the file."""
    length_s: float
    """In the call."""
    leg: str | None = None
    track: str | None = None
    channel: str | None = None
    cause: str
    text: str
    """The same in words."""


def regions_of(
    integrity: Integrity, legs: Sequence[LegReceipt], *, duration_ms: int, pause_behavior: PauseBehavior
) -> list[Region]:
    """Return what there is to mark, in order of place; ``pause_behavior``: of pauses that do not say it themselves."""
    skipped = [pause for pause in integrity.pauses if (pause.behavior or pause_behavior) is PauseBehavior.SKIP]

    def place(call_ms: int) -> float:
        before_ms = sum(min(pause.length_ms, max(0, call_ms - pause.start_ms)) for pause in skipped)  # rule 1
        file_ms = call_ms - before_ms - integrity.trimmed_ms.start  # rule 2
        return max(0, min(file_ms, duration_ms)) / 1000  # rule 3

    channels = {(leg.leg, leg.track): leg.channel for leg in legs}
    placed = [_gap(gap, channels.get((gap.leg, gap.track)), place(gap.start_ms), place(gap.start_ms + gap.length_ms))
              for gap in integrity.gaps]  # fmt: skip
    placed += [
        _pause(pause, pause not in skipped, place(pause.start_ms), place(pause.start_ms + pause.length_ms))
        for pause in integrity.pauses
    ]
    placed += _trimmed(integrity, duration_ms)
    placed.sort(key=lambda region: (region.start_s or 0.0, region.kind))
    return [*placed, *_without_place(integrity)]


def _gap(gap: Gap, channel: str | None, start_s: float, end_s: float) -> Region:
    length_s = gap.length_ms / 1000
    why = _CAUSES.get(gap.cause, gap.cause)
    return Region(
        kind="gap",
        start_s=start_s,
        end_s=end_s,
        length_s=length_s,
        leg=gap.leg,
        track=gap.track,
        channel=channel,
        cause=gap.cause,
        text=f"{length_s:.2f} s of leg {gap.leg} ({gap.track}) are silence that the call did not have: {why}.",
    )


def _pause(pause: Pause, is_in_file: bool, start_s: float, end_s: float) -> Region:
    length_s = pause.length_ms / 1000
    left = "silence of that length is in its place" if is_in_file else "nothing of them is in the file"
    return Region(
        kind="pause",
        start_s=start_s,
        end_s=end_s,
        length_s=length_s,
        cause="silence" if is_in_file else "skip",
        text=f"The recording was paused for {length_s:.1f} s of the call: {left}.",
    )


def _trimmed(integrity: Integrity, duration_ms: int) -> Iterator[Region]:
    for cause, length_ms, at_ms in (
        ("start", integrity.trimmed_ms.start, 0),
        ("end", integrity.trimmed_ms.end, duration_ms),
    ):
        if length_ms:
            yield Region(
                kind="trimmed",
                start_s=at_ms / 1000,
                end_s=at_ms / 1000,
                length_s=length_ms / 1000,
                cause=cause,
                text=f"{length_ms / 1000:.1f} s of silence were cut off at the {'beginning' if at_ms == 0 else 'end'}.",
            )


def _without_place(integrity: Integrity) -> Iterator[Region]:
    for kind, length_ms, text in (
        ("late", integrity.late_ms, "came after their place was written, and are not in the file, or not all of it"),
        ("lost", integrity.lost_ms, "never came, as the timestamps of their streams tell"),
        ("limit", integrity.after_limit_ms, "came after the recording had ended by itself"),
    ):
        if length_ms:
            length_s = length_ms / 1000
            yield Region(
                kind=kind, start_s=None, end_s=None, length_s=length_s, cause=kind, text=f"{length_s:.2f} s {text}."
            )
