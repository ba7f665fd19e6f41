"""How the allocator of the C library treats what is freed.

glibc takes a block of 128 KiB or more from the system by itself (mmap), and returns it when it is freed. But it learns:
each such block that is freed raises that threshold to its size, up to 32 MiB, and lets every thread's heap keep twice
as much at its end. What one burst of audio, one flood of requests or one conversion took then stays for good, cut to
pieces by the small things that were made meanwhile. A threshold that is set is not raised.

Measured with ``make hostile``, one run each: four streams of 10 MB at once, behind other attacks, took 2.3 times what
the 20 calls beside them take alone with a threshold of 1 MiB, and 1.8 times with 128 KiB. ``malloc_trim`` once in three
seconds took up to 50 ms of a lock that the event loop needs.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's ``malloc.h``."""
_LARGE_BYTES = 128 << 10
"""glibc's own, before it learns. Less is in a frame, and in two seconds of a call of 8 kHz."""
_TRIM_BYTES = 4 << 20
"""What a heap may keep at its end for what comes next."""


def give_memory_back() -> None:
    """Have large blocks returned to the system when they are freed; do nothing where the C library is another."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
