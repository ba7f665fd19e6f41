"""Finished files: where they lie, how they get there, and the links that open them."""
