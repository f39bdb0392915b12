"""Running a kernel on as many threads as PyTorch uses: on PyTorch's own OpenMP team where there is one."""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

KERNEL_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
Launcher = Callable[[int, ctypes.Array[ctypes.c_int64], int], None]


def launch(address: int, arguments: list[int], n_threads: int) -> None:
    """Call the kernel at ``address`` on ``n_threads`` threads and wait until all have returned.

    Two counters, from which the threads take tasks and their own numbers, are added to the arguments.
    """
    array = (ctypes.c_int64 * (len(arguments) + 2))(*arguments)
    if n_threads == 1:
        KERNEL_TYPE(address)(ctypes.addressof(array))
    else:
        choose_launcher()(address, array, n_threads)


@cache
def choose_launcher() -> Launcher:
    """Return what calls a kernel on several threads: PyTorch's team of them where it can be had."""
    parallel = _gomp_parallel()
    if parallel is None:
        return launch_on_pool

    def launch_on_team(address: int, array: ctypes.Array[ctypes.c_int64], n_threads: int) -> None:
        parallel(address, ctypes.addressof(array), n_threads, 0)

    return launch_on_team


@cache
def _gomp_parallel() -> Callable[[int, int, int, int], None] | None:
    """Return ``GOMP_parallel(function, data, threads, flags)`` of the GNU OpenMP that PyTorch has loaded."""
    path = _loaded_libgomp()
    if path is None:
        return None
    function = ctypes.CDLL(path).GOMP_parallel
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    function.restype = None
    return function


def _loaded_libgomp() -> str | None:
    """Return the path of the libgomp that is loaded already: a second copy would bring threads of its own."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    paths = (line.split(maxsplit=5)[-1] for line in maps.splitlines() if "libgomp" in line)
    return next(paths, None)


def launch_on_pool(address: int, array: ctypes.Array[ctypes.c_int64], n_threads: int) -> None:
    """Call a kernel on Python's threads, this one among them."""
    kernel, data = KERNEL_TYPE(address), ctypes.addressof(array)
    pool = _pool(os.getpid(), n_threads - 1)
    others = [pool.submit(kernel, data) for _ in range(n_threads - 1)]
    kernel(data)
    for other in others:
        other.result()


@cache
def _pool(process: int, size: int) -> ThreadPoolExecutor:
    """Return the pool of this process: a fork does not inherit its parent's threads."""
    return ThreadPoolExecutor(size, thread_name_prefix="seqsuite-kernel")
