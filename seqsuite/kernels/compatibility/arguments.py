"""Complaints about arguments by the names, letters and layouts that a function's users know."""

from collections.abc import Mapping

from torch import Tensor

from seqsuite.kernels.checks import check_tensor

Arguments = Mapping[str, tuple[Tensor | None, str]]
"""By name what was given, and the form that it must have: ``"(B, L, D)"``."""


def check_forms(
    operation: str,
    arguments: Arguments,
    sizes: Mapping[str, int] | None = None,
    complex_allowed: bool = False,
) -> dict[str, int]:
    """Check floating tensors against forms in which equal letters are equal sizes.

    Args:
        operation: Name of the function.
        arguments: In an order in which the first to have a letter says its size; ``None`` is passed over.
        sizes: Of letters that are known before.
        complex_allowed: Whether the numbers may be complex.

    Returns:
        The size of each letter.

    Raises:
        TypeError: an argument is not a tensor, or not a floating one.
        ValueError: one has another shape.
    """
    known = dict(sizes or {})
    for name, (tensor, form) in arguments.items():
        if tensor is None:
            continue
        letters = form.strip("()").rstrip(",").split(", ")
        wanted = tuple(known.get(letter) for letter in letters)
        check_tensor(operation, name, tensor, form, wanted, complex_allowed)
        known |= zip(letters, tensor.shape, strict=True)
    return known
