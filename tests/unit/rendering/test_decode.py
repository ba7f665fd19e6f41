"""Payload bytes to samples; G.711 against values that the standard gives."""

from __future__ import annotations

import numpy as np
import pytest

from wavstream.model.audio import Codec
from wavstream.rendering.codecs.decode import decode, decode_a_law, decode_mu_law

ALL_CODES = np.arange(256, dtype=np.uint8)


def test_l16_is_little_endian_and_l16be_is_not() -> None:
    payload = np.array([0x01, 0x02, 0xFF, 0x7F], np.uint8)
    assert decode(Codec.L16, 1, payload)[:, 0].tolist() == [0x0201, 0x7FFF]
    assert decode(Codec.L16BE, 1, payload)[:, 0].tolist() == [0x0102, -129]


@pytest.mark.parametrize("codec", list(Codec))
def test_two_channels_are_told_apart(codec: Codec) -> None:
    payload = np.arange(8 * codec.sample_bytes, dtype=np.uint8)
    mono, stereo = decode(codec, 1, payload), decode(codec, 2, payload)
    assert stereo.shape == (4, 2)
    assert stereo.dtype == np.int16
    assert stereo.reshape(-1).tolist() == mono[:, 0].tolist()


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0x00, -32124), (0x80, 32124), (0x7F, 0), (0xFF, 0), (0x70, -120), (0xF0, 120), (0xEF, 132), (0x8F, 16764)],
)
def test_a_mu_law_code_becomes_the_sample_of_the_standard(code: int, sample: int) -> None:
    assert decode_mu_law(np.array([code], np.uint8)).tolist() == [sample]


@pytest.mark.parametrize(
    ("code", "sample"),
    [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0xD4, 24), (0xC5, 264), (0xF5, 528), (0x80, 5504)],
)
def test_an_a_law_code_becomes_the_sample_of_the_standard(code: int, sample: int) -> None:
    assert decode_a_law(np.array([code], np.uint8)).tolist() == [sample]


def test_mu_law_falls_from_the_loudest_code_to_the_quietest() -> None:
    positive = decode_mu_law(ALL_CODES)[128:].astype(int)
    assert (np.diff(positive) < 0).all()


def test_both_laws_are_symmetric() -> None:
    mu, a = decode_mu_law(ALL_CODES), decode_a_law(ALL_CODES)
    assert (mu[:128] == -mu[128:]).all()
    assert (a[:128] == -a[128:]).all()


def test_an_a_law_step_is_never_repeated() -> None:
    assert len(set(decode_a_law(ALL_CODES).tolist())) == 256
