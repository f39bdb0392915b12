"""Sizes that torch.compile and torch.export know by a symbol only."""

import torch


def certainly(condition: bool) -> bool:
    """Return a condition on sizes; while PyTorch traces, whether it holds for any that the graph is for.

    To branch on a symbol itself would tie the graph to one side of the branch: what is traced is then the
    side that is right for all sizes.
    """
    if not torch.compiler.is_compiling():
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(condition)
