"""How the C library treats freed memory."""

import ctypes

__all__ = ["keep_freed_memory"]

# the names of <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_KEPT = 2**30


def keep_freed_memory() -> bool:
    """Let glibc keep up to a gigabyte of freed memory for the next request, instead of returning it.

    A step over thousands of pixels makes and frees arrays of tens of megabytes. By default glibc returns
    those to the system, which clears every page again at the next request: a tenth of a step on a CPU.

    Returns:
        Whether the C library took it; others than glibc do not, and lose nothing but that time.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or no such library: Windows, macOS, musl
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEPT)) and bool(mallopt(_M_MMAP_MAX, 0))
