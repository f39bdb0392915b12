"""Complaints about a kernel's arguments: each names the operation, the argument and what it should be."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

FLOAT_DTYPES = frozenset({torch.float64, torch.float32, torch.bfloat16, torch.float16})
Sizes = tuple[int | None, ...]


def check_tensor(
    operation: str, name: str, tensor: Tensor, form: str, sizes: Sizes, complex_allowed: bool = False
) -> None:
    """Check that an argument is a floating tensor of the sizes wanted; ``None`` among them allows any.

    Args:
        operation: Name of the kernel.
        name: Name of the argument.
        tensor: What was given.
        form: The shape wanted, in letters.
        sizes: The shape wanted, in numbers.
        complex_allowed: Whether it may be complex.

    Raises:
        TypeError: it is not a tensor, or not a floating one.
        ValueError: it has another shape.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{operation}: {name} must be a tensor of shape {form}, not {type(tensor).__name__}")
    if not (tensor.dtype in FLOAT_DTYPES or (complex_allowed and tensor.is_complex())):
        wanted = "floating or complex" if complex_allowed else "floating"
        raise TypeError(f"{operation}: {name} must be {wanted}, not {tensor.dtype}")
    shape = tensor.shape
    fits = shape == sizes or (
        len(shape) == len(sizes)
        and all(want is None or have == want for have, want in zip(shape, sizes, strict=True))
    )
    if not fits:
        raise ValueError(
            f"{operation}: {name} must have shape {form}{_expected(form, sizes, shape)}, not {tuple(shape)}"
        )


def _expected(form: str, sizes: Sizes, shape: Sequence[int]) -> str:
    """Return `` = (4, 3)`` for the sizes that are known; any other is as given, or a letter of the form."""
    if all(size is None for size in sizes):
        return ""
    others: Sequence[int | str] = shape
    if len(shape) != len(sizes):
        letters = form.removeprefix("(").removesuffix(")").rstrip(",").split(", ")
        others = letters if len(letters) == len(sizes) else ["any"] * len(sizes)
    shown = [str(other if size is None else size) for size, other in zip(sizes, others, strict=True)]
    return f" = ({', '.join(shown)}{',' * (len(shown) == 1)})"


def check_flag(operation: str, name: str, value: object, hint: str = "") -> None:
    """Check that an argument is true or false, and nothing that Python would take for one.

    Args:
        operation: Name of the kernel.
        name: Name of the argument.
        value: What was given.
        hint: What it means, in brackets.

    Raises:
        TypeError: it is no bool.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{operation}: {name} must be True or False{hint}, not {value!r}")


def check_devices(operation: str, name: str, tensor: Tensor, others: Mapping[str, Tensor | None]) -> None:
    """Check that all other arguments are on the device of ``tensor``, ``cu_seqlens`` perhaps on the host.

    Raises:
        ValueError: one is not.
    """
    device = tensor.device
    for other_name, other in others.items():
        on_host = other_name == "cu_seqlens" and other is not None and other.is_cpu
        if other is not None and other.device != device and not on_host:
            raise ValueError(f"{operation}: {other_name} is on {other.device}, but {name} is on {device}")


def check_cu_seqlens(operation: str, cu_seqlens: Tensor, name: str, packed: Tensor) -> None:
    """Check the form of ``cu_seqlens``; :func:`sequence_offsets` checks its values where they are read.

    Args:
        operation: Name of the kernel.
        cu_seqlens: Offsets (S + 1,).
        name: Name of the tensor that holds the sequences.
        packed: That tensor, (1, L, D).

    Raises:
        TypeError: ``cu_seqlens`` holds no integers.
        ValueError: one of the two has another shape.
    """
    if not isinstance(cu_seqlens, Tensor) or cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{operation}: cu_seqlens must be an int32 or int64 tensor of S + 1 offsets")
    if cu_seqlens.dim() != 1 or len(cu_seqlens) < 2:
        raise ValueError(
            f"{operation}: cu_seqlens must have shape (S + 1,), S >= 1, not {tuple(cu_seqlens.shape)}"
        )
    if packed.shape[0] != 1:
        raise ValueError(
            f"{operation}: with cu_seqlens {name} must have shape (1, L, D), the sequences one after the "
            f"other, not {tuple(packed.shape)}"
        )


def sequence_offsets(cu_seqlens: Tensor, seqlen: int) -> list[int]:
    """Return the values of ``cu_seqlens``.

    Raises:
        ValueError: unless they rise from 0 to ``seqlen`` (equal neighbours are an empty sequence).
    """
    offsets: list[int] = cu_seqlens.tolist()
    rising = all(start <= end for start, end in pairwise(offsets))
    if offsets[0] != 0 or offsets[-1] != seqlen or not rising:
        raise ValueError(f"cu_seqlens must rise from 0 to L = {seqlen}, but holds {offsets}")
    return offsets
