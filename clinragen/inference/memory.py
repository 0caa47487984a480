"""Give back to the system what is no longer needed, so that a long prediction takes no more memory than a short one."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache

import pyarrow as pa

#: Blocks of this many bytes and more are mapped one by one, and unmapped as soon as they are free.
MAPPED = 8 << 20
_MMAP_THRESHOLD = -3  # of mallopt


@cache
def map_large_blocks() -> None:
    """Have large tensors in blocks of their own. By default the C library soon takes them from its heap, which the
    changing lengths of batches leave in pieces: it grows though nothing is held. No effect where there is no glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_MMAP_THRESHOLD, MAPPED)


def release() -> None:
    """Return free memory of tables and of the heap."""
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
