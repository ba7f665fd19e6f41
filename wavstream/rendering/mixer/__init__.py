"""Which leg is on which channel, and their sum."""
