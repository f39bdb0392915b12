"""What the C library does with freed memory, return it or keep it; and how much this process has."""

import ctypes
from pathlib import Path

# glibc's mallopt: https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEEP_BELOW = (1 << 31) - 1
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


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


def process_bytes(key: str) -> int | None:
    """Return what the kernel says of this process under ``key``, such as VmRSS and VmHWM, where it says."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def reset_peak() -> bool:
    """Set the record of the largest resident set to the present one; see proc_pid_clear_refs(5)."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True
