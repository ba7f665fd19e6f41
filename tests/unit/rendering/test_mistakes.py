"""A wrong description is named in the words of its dialect."""

from __future__ import annotations

import pytest

from wavstream.model.audio import Codec, MediaFormat
from wavstream.rendering.inspection.mistakes import wrong_byte_order, wrong_pace

L16_8K = MediaFormat()
L16_16K = MediaFormat(rate_hz=16_000)
STEREO_8K = MediaFormat(channels=2)
MU_LAW = MediaFormat(Codec.PCMU)


@pytest.mark.parametrize(
    ("form", "pace", "causes", "settings"),
    [
        (L16_8K, 2.0, "16 kHz sent as rate=8000, or two channels sent as one", "rate=16000, or channels=2"),
        (L16_8K, 1.99, "16 kHz sent as rate=8000, or two channels sent as one", "rate=16000, or channels=2"),
        (L16_8K, 3.0, "24 kHz sent as rate=8000", "rate=24000"),
        (L16_8K, 6.0, "48 kHz sent as rate=8000", "rate=48000"),
        (L16_8K, 0.5, "G.711 sent as codec=l16", "codec=pcmu or pcma"),
        (L16_16K, 0.5, "8 kHz sent as rate=16000", "rate=8000"),
        (L16_16K, 0.25, "G.711 of 8 kHz sent as codec=l16 with rate=16000", "codec=pcmu or pcma and rate=8000"),
        (STEREO_8K, 0.5, "one channel sent as two, or G.711 sent as codec=l16", "channels=1, or codec=pcmu or pcma"),
        (MU_LAW, 2.0, "16-bit samples sent as codec=pcmu, or two channels sent as one", "codec=l16, or channels=2"),
        (MediaFormat(rate_hz=48_000), 1 / 3, "16 kHz sent as rate=48000", "rate=16000"),
        (MediaFormat(rate_hz=48_000), 1 / 6, "8 kHz sent as rate=48000", "rate=8000"),
    ],
)
def test_a_pace_names_the_likely_mistakes_and_the_settings(
    form: MediaFormat, pace: float, causes: str, settings: str
) -> None:
    said = wrong_pace(pace, form, "pcm", has_two_channels=None)

    assert said is not None
    slow = "; if that is right already, the sender or its link is too slow" if pace < 1 else ""
    assert said.endswith(f"audio as time: {causes}. Whoever opens the stream should set {settings}{slow}")


@pytest.mark.parametrize("pace", [None, 0.97, 1.0, 1.03, 0.76, 0.9, 1.2, 2.2, 0.12])
def test_a_pace_that_no_mistake_explains_names_none(pace: float | None) -> None:
    assert wrong_pace(pace, L16_8K, "pcm", has_two_channels=None) is None


def test_what_the_samples_prove_is_named_alone() -> None:
    two, one = (wrong_pace(2.0, L16_8K, "pcm", has_two_channels=proven) for proven in (True, False))

    assert two == (
        "twice as much audio as time: two channels sent as one. Whoever opens the stream should set channels=2"
    )
    assert one == (
        "twice as much audio as time: 16 kHz sent as rate=8000. Whoever opens the stream should set rate=16000"
    )


def test_a_dialect_is_not_told_to_set_what_it_does_not_have() -> None:
    assert wrong_pace(0.5, L16_8K, "audio-fork", has_two_channels=None) is None
    assert wrong_pace(2.0, L16_8K, "twilio", has_two_channels=None) == (
        "twice as much audio as time: 16 kHz sent as mediaFormat.sampleRate=8000. "
        "Whoever sends the stream's start should set mediaFormat.sampleRate=16000"
    )


def test_a_stream_of_a_dialect_that_is_not_known_any_more_is_told_of_as_native() -> None:
    assert wrong_pace(3.0, L16_8K, "of-a-later-version", has_two_channels=None) is not None


@pytest.mark.parametrize(
    ("codec", "dialect", "setting"),
    [
        (Codec.L16, "pcm", "byteorder=big"),
        (Codec.L16BE, "pcm", "codec=l16"),
        (Codec.L16, "audio-stream", "byteorder=big"),
        (Codec.L16BE, "twilio", "the custom parameter byteorder=little"),
    ],
)
def test_a_wrong_byte_order_names_the_setting(codec: Codec, dialect: str, setting: str) -> None:
    assert wrong_byte_order(MediaFormat(codec), dialect).endswith(f" should set {setting}")
