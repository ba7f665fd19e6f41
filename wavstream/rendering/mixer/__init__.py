"""Which leg is on which channel, the sum of all, the beep, and levels."""
