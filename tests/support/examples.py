"""How many examples Hypothesis tries: a quarter of what was found to tell enough, and all with the long profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import settings

T = TypeVar("T", bound=Callable[..., Any])

OF_MOST = 100
"""What a test tries that says no number, if nothing is cut: Hypothesis's own default."""


def examples(number: int, **more: Any) -> Callable[[T], T]:
    """Try so many where nothing is cut, and as much less or more as the profile says (tests/conftest.py)."""
    return settings(max_examples=max(1, number * settings().max_examples // OF_MOST), **more)
