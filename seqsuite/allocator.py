"""What the C library does with freed memory: return it to the system, or keep it for the next tensor."""

import ctypes

# glibc's mallopt: https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BELOW = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next tensor, and return whether it does.

    By default every large tensor is mapped afresh, and its pages are zeroed by the kernel one fault after
    the other: work that frees and makes the same tensors step after step is slowed by that. There is no way
    back within a process. Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return all(mallopt(parameter, _KEEP_BELOW) for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD))


def return_freed_memory() -> None:
    """Return what is freed by now to the system, where the C library can."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return
