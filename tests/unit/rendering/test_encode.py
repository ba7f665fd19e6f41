"""Linear samples to payload bytes, checked against libsndfile's decoder."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.encode import Samples, encode

EVERY_SAMPLE = np.arange(-32_768, 32_768).astype(np.int16).reshape(-1, 1)


def decoded(payload: bytes, subtype: str) -> Samples:
    samples, _ = soundfile.read(
        io.BytesIO(payload), channels=1, samplerate=8_000, format="RAW", subtype=subtype, dtype="int16", always_2d=True
    )
    return np.asarray(samples, np.int16)


@pytest.mark.parametrize(("codec", "subtype"), [(Codec.PCMU, "ULAW"), (Codec.PCMA, "ALAW")])
def test_every_g711_code_is_what_its_own_level_is_encoded_to(codec: Codec, subtype: str) -> None:
    levels = decoded(bytes(range(256)), subtype)
    assert decoded(encode(levels, codec), subtype).tolist() == levels.tolist()


@pytest.mark.parametrize(("codec", "subtype"), [(Codec.PCMU, "ULAW"), (Codec.PCMA, "ALAW")])
def test_a_louder_sample_never_gets_a_quieter_g711_code(codec: Codec, subtype: str) -> None:
    heard = decoded(encode(EVERY_SAMPLE, codec), subtype).astype(int).ravel()
    assert np.diff(heard).min() == 0


@pytest.mark.parametrize(
    ("codec", "silence"), [(Codec.PCMU, 0xFF), (Codec.PCMA, 0xD5), (Codec.L16, 0), (Codec.L16BE, 0)]
)
def test_silence_is_the_code_that_the_standard_gives_it(codec: Codec, silence: int) -> None:
    payload = encode(np.zeros((4, 1), np.int16), codec)
    assert payload == bytes([silence]) * 4 * codec.sample_bytes


def test_two_channels_are_interleaved_in_the_byte_order_of_the_codec() -> None:
    samples = np.array([[0x0102, 0x0304], [0x0506, 0x0708]], np.int16)
    assert encode(samples, Codec.L16) == bytes.fromhex("0201040306050807")
    assert encode(samples, Codec.L16BE) == bytes.fromhex("0102030405060708")
    assert len(encode(samples, Codec.PCMU)) == 4
