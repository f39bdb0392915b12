"""The textbook parallel prefix sum for linear recurrences: the baseline that the fused scan is compared with.

G. E. Blelloch, "Prefix Sums and Their Applications", 1990, section 1.4: up-sweep and down-sweep over a
balanced tree, 2 log2(L) steps of O(L) work in all.
"""

import torch
from torch import Tensor


def parallel_scan(a: Tensor, b: Tensor, dim: int = 1) -> Tensor:
    """Return every h_t = a_t h_{t-1} + b_t, from h_{-1} = 0, in logarithmically many steps.

    The pairs (a, b) stand for the maps h → a h + b; applying (a1, b1) and then (a2, b2) is the map
    (a2 a1, a2 b1 + b2), and this composition is associative, so that a prefix sum can be taken over it.
    Differentiable by autograd, which keeps all of the tree.

    Args:
        a, b: decays and inputs, of one shape and one floating or complex dtype.
        dim: the dimension of time, of any length.

    Returns:
        h, of the shape of ``b``.

    Raises:
        ValueError: the shapes differ, or ``dim`` is none of theirs.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"parallel_scan: a and b must have one shape, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    if not -a.dim() <= dim < a.dim():
        raise ValueError(f"parallel_scan: dim must be a dimension of a, which has {a.dim()}, not {dim}")
    a, b = a.movedim(dim, 0), b.movedim(dim, 0)
    _, before = _exclusive(a, b)
    return (a * before + b).movedim(0, dim)


def _exclusive(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each position of the first dimension the composition of all maps before it."""
    length = len(a)
    if length <= 1:
        return torch.ones_like(a), torch.zeros_like(b)
    if length % 2:  # pad with the identity map, h → 1 h + 0
        a = torch.cat([a, torch.ones_like(a[:1])])
        b = torch.cat([b, torch.zeros_like(b[:1])])
    left_a, right_a = a[0::2], a[1::2]
    left_b, right_b = b[0::2], b[1::2]
    # Up-sweep: a parent is the composition of its two children.
    parent_a, parent_b = _exclusive(left_a * right_a, right_a * left_b + right_b)
    # Down-sweep: what is before the parent is before its left child, and both are before its right child.
    prefix_a = torch.stack([parent_a, left_a * parent_a], dim=1).flatten(0, 1)
    prefix_b = torch.stack([parent_b, left_a * parent_b + left_b], dim=1).flatten(0, 1)
    return prefix_a[:length], prefix_b[:length]
