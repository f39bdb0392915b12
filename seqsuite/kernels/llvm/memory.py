"""Memory for results: large tensors on huge pages, where the system has them."""

import ctypes
import mmap
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

# Below, the C library soon keeps freed memory for the next tensor, and its pages are there already.
LARGE_BYTES = 4 << 20


def new_empty(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """Return ``like.new_empty(shape, dtype=dtype)``, a large one on huge pages.

    The C library maps the largest tensors afresh each time, and the system zeroes each page when it is first
    written to: with pages of 4 KiB one fault after the other, and with pages of 2 MiB 512 times fewer.
    """
    if dtype is not None and dtype != like.dtype:
        tensor = like.new_empty(shape, dtype=dtype)
    elif shape == like.shape:  # this takes half as long as the general call
        tensor = torch.empty_like(like, memory_format=torch.contiguous_format)
    else:
        tensor = like.new_empty(shape)
    if tensor.nbytes >= LARGE_BYTES and (advise := find_madvise()) is not None:
        start = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        # A wish: if it is refused, the pages are small.
        advise(start, tensor.data_ptr() + tensor.nbytes - start, mmap.MADV_HUGEPAGE)
    return tensor


@cache
def find_madvise() -> Callable[[int, int, int], int] | None:
    """Return the C library's ``madvise``, or ``None`` where there are no huge pages to ask for."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
