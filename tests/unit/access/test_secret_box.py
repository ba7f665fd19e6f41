"""Secrets that are sealed for the catalog."""

from __future__ import annotations

import base64

import pytest

from wavstream.access.secret_box import SecretBox
from wavstream.errors import OperatorError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_sealed_secret_opens_for_its_owner_under_the_same_master_key() -> None:
    sealed = SecretBox(b"m" * 32).seal(SECRET, owner="shop")

    assert SecretBox(b"m" * 32).open(sealed, owner="shop") == SECRET
    assert SECRET not in sealed
    assert SecretBox(b"m" * 32).seal(SECRET, owner="shop") != sealed


@pytest.mark.parametrize(("master", "owner"), [(b"n" * 32, "shop"), (b"m" * 32, "bank")])
def test_it_does_not_open_under_another_master_key_or_for_another_owner(master: bytes, owner: str) -> None:
    sealed = SecretBox(b"m" * 32).seal(SECRET, owner="shop")

    with pytest.raises(OperatorError, match="another master key"):
        SecretBox(master).open(sealed, owner=owner)


@pytest.mark.parametrize("sealed", ["", "☎", "AAAA", base64.b64encode(bytes(12)).decode(), "A" * 64])
def test_what_was_never_sealed_does_not_open(sealed: str) -> None:
    with pytest.raises(OperatorError):
        SecretBox(b"m" * 32).open(sealed, owner="shop")
