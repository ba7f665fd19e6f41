"""Which mistake in the description of a stream explains what its audio is like, in words for whoever can mend it.

1. The bytes that come in a second are what they are, whatever they are called. So a wrong description is one of another
   usual format that has as many: twice the pace of 8 kHz is 16 kHz, or two channels; half the pace of 16-bit samples is
   G.711, or half the rate, or one channel instead of two.
2. Formats that differ in one thing from the description are likelier than those that differ in two.
3. A setting that the dialect does not have cannot be wrong there.
4. Of twice the rate and two channels both are named, unless the samples prove one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavstream.dialects.registry import DIALECTS
from wavstream.model.audio import Codec, MediaFormat

if TYPE_CHECKING:
    from wavstream.dialects.base import FormatNames

_TOLERANCE = 0.04
"""Beyond jitter and drift of clocks, and far from the nearest other ratio."""
_RATES_HZ = (8_000, 16_000, 24_000, 32_000, 48_000)
_AMOUNTS = {2.0: "twice as much", 0.5: "half as much"}


def wrong_pace(pace: float | None, form: MediaFormat, dialect: str, *, has_two_channels: bool | None) -> str | None:
    """Return which mistake a pace tells of, and who has to set what; None: of none."""
    if pace is None or abs(pace - 1) <= _TOLERANCE:
        return None
    names = _names(dialect)
    likely = [other for other in _usual(form) if _settings(form, other, names) is not None]
    likely = [other for other in likely if abs(pace * _bytes_a_second(form) / _bytes_a_second(other) - 1) <= _TOLERANCE]
    if not likely:
        return None
    fewest = min(_differences(form, other) for other in likely)
    likely = [other for other in likely if _differences(form, other) == fewest]  # rule 2
    if has_two_channels is not None and len({other.channels for other in likely}) > 1:  # rule 4
        likely = [other for other in likely if (other.channels == 2) == has_two_channels]
    causes = ", or ".join(_cause(form, other, names) for other in likely)
    settings = ", or ".join(_settings(form, other, names) or "" for other in likely)
    ratio = next(
        (_AMOUNTS[amount] for amount in _AMOUNTS if abs(pace / amount - 1) <= _TOLERANCE), f"{pace:g} times as much"
    )
    advice = f"{ratio} audio as time: {causes}. {names.who} should set {settings}"
    return advice if pace > 1 else f"{advice}; if that is right already, the sender or its link is too slow"


def wrong_byte_order(form: MediaFormat, dialect: str) -> str:
    """Return what to do about samples whose bytes are in the other order than described."""
    names = _names(dialect)
    found, described = ("little", "big") if form.codec is Codec.L16BE else ("big", "little")
    return (
        f"noise, which is smooth with its bytes swapped: {found}-endian samples taken for {described}-endian ones. "
        f"{names.who} should set {names.little_endian if found == 'little' else names.big_endian}"
    )


def _usual(form: MediaFormat) -> list[MediaFormat]:
    """Return the usual formats that are not this one."""
    linear = form.codec if form.codec.sample_bytes == 2 else Codec.L16
    companded = form.codec if form.codec.sample_bytes == 1 else Codec.PCMU
    formats = [MediaFormat(linear, rate_hz, channels) for channels in (1, 2) for rate_hz in _RATES_HZ]
    formats += [MediaFormat(companded, 8_000, channels) for channels in (1, 2)]
    return [other for other in formats if other != form]


def _bytes_a_second(form: MediaFormat) -> int:
    return form.rate_hz * form.step_bytes


def _differences(form: MediaFormat, other: MediaFormat) -> int:
    return sum((form.codec != other.codec, form.rate_hz != other.rate_hz, form.channels != other.channels))


def _cause(form: MediaFormat, other: MediaFormat, names: FormatNames) -> str:
    """Return what was sent as what."""
    was, told = [], []
    if other.channels != form.channels:
        was.append("two channels" if other.channels == 2 else "one channel")
        told.append("one" if form.channels == 1 else "two")
    if other.codec is not form.codec:
        was.append("16-bit samples" if other.codec.sample_bytes == 2 else "G.711")
        told.append(f"{names.codec}={names.codecs.get(form.codec, form.codec)}")
    if other.rate_hz != form.rate_hz:
        was.append(f"{other.rate_hz // 1000} kHz")
        told.append(f"{names.rate}={form.rate_hz}")
    return f"{' of '.join(was)} sent as {' with '.join(told)}"


def _settings(form: MediaFormat, other: MediaFormat, names: FormatNames) -> str | None:
    """Return the settings that make the one of the other; None: the dialect does not have them (rule 3)."""
    parts = []
    if other.codec is not form.codec:
        if names.codec is None:
            return None
        codecs = (other.codec, Codec.PCMA) if other.codec is Codec.PCMU else (other.codec,)
        parts.append(f"{names.codec}={' or '.join(names.codecs.get(codec, codec) for codec in codecs)}")
    if other.rate_hz != form.rate_hz:
        parts.append(f"{names.rate}={other.rate_hz}")
    if other.channels != form.channels:
        if names.channels is None:
            return None
        parts.append(f"{names.channels}={other.channels}")
    return " and ".join(parts)


def _names(dialect: str) -> FormatNames:
    """Return what the dialect calls its settings; of one that is not known, from another version, as the native one."""
    return DIALECTS.get(dialect, DIALECTS["pcm"]).format_names
