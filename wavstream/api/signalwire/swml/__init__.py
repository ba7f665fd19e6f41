"""SWML: a document of steps, run on a live call."""
