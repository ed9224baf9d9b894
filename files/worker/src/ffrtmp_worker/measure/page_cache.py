"""How much of a file the kernel has in memory, so that reading it needs no disk."""

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np
from ffrtmp_shared.measurement import Unavailable

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
_IS_RESIDENT = 1


def cached_ratio(file: Path) -> float | Unavailable:
    """Return the part of the pages of `file` that are in the page cache, by mincore(2).

    The kernel tells only who may write the file or owns it; to others all looks cached.
    """
    try:
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        ):
            pages = np.zeros(-(-len(mapped) // mmap.PAGESIZE), dtype=np.uint8)
            # Only where it lies is needed; nothing of it is read, which would bring it in.
            view = np.frombuffer(mapped, dtype=np.uint8)
            failed = _libc.mincore(view.ctypes.data, len(mapped), pages.ctypes.data)
            # A mapping that is looked at cannot be closed.
            del view
            if failed:
                reason = os.strerror(ctypes.get_errno())
                return Unavailable(reason=f"the kernel does not tell what it has cached: {reason}")
    except (OSError, ValueError) as error:
        return Unavailable(reason=f"the source cannot be looked at: {error}")
    return float(np.mean(pages & _IS_RESIDENT))
