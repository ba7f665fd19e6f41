"""wavstream records phone calls that media servers stream over WebSocket.

The path of a sample: socket -> media -> dialects -> sessions -> journal -> rendering -> recorder -> storage, catalog.
"""

__version__ = "0.1.0"
