"""Fraction of a file that is in the page cache and can be read without disk access."""

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np
from ffrtmp_shared.unavailable import Unavailable

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
_IS_RESIDENT = 1


def cached_ratio(file: Path) -> float | Unavailable:
    """Return the fraction of the pages of `file` that are in the page cache, using mincore(2).

    The kernel reports the true state only to processes that own the file or may write to it. To
    other processes, all pages appear to be cached.
    """
    try:
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        ):
            pages = np.zeros(-(-len(mapped) // mmap.PAGESIZE), dtype=np.uint8)
            # Only the address is used: reading the data would load it into the cache.
            view = np.frombuffer(mapped, dtype=np.uint8)
            failed = _libc.mincore(view.ctypes.data, len(mapped), pages.ctypes.data)
            # A mapping cannot be closed while a view of it exists.
            del view
            if failed:
                reason = os.strerror(ctypes.get_errno())
                return Unavailable(reason=f"the page cache cannot be inspected: {reason}")
    except (OSError, ValueError) as error:
        return Unavailable(reason=f"the source cannot be mapped into memory: {error}")
    return float(np.mean(pages & _IS_RESIDENT))
