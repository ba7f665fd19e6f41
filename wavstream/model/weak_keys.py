"""Keys that people choose, and others guess: the rule by which they are refused where others can reach the server."""

from __future__ import annotations

MIN_CHARACTERS = 16
"""About what a random key needs so that nobody guesses it over a network; ``openssl rand -hex 24`` makes 48."""
_MIN_DIFFERENT = 5
"""Of 16 random hex digits fewer differ once in some millions."""
_EXAMPLES = ("changeme",)
"""What keys in samples say, without what is neither letter nor digit."""


def weakness(key: str) -> str | None:
    """Return what makes a key easy to guess, to be read behind its name; None: nothing that we know of."""
    if len(key) < MIN_CHARACTERS:
        return f"has fewer than {MIN_CHARACTERS} characters"
    if len(set(key)) < _MIN_DIFFERENT:
        return f"has fewer than {_MIN_DIFFERENT} different characters"
    letters = "".join(character for character in key.lower() if character.isalnum())
    if any(example in letters for example in _EXAMPLES):
        return "is that of an example, which everybody knows"
    return None
