"""Numbers of fewer bits: autocast, and the scaling that half precision needs."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class MixedPrecision:
    """Computes in fewer bits where it is safe; weights, gradients and the optimizer stay in float32.

    Args:
        precision: ``"fp32"`` leaves everything as it is.
        device: Where to compute.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self._dtype = _DTYPES.get(precision)
        self._device = device.type
        self.scaler = GradScaler(self._device, enabled=precision == "fp16")

    def autocast(self, *, cached: bool = True) -> AbstractContextManager[None]:
        """Return the context of forward passes.

        Args:
            cached: Whether weights are kept in fewer bits from one use to the next; not within a graph.
        """
        if self._dtype is None:
            return nullcontext()
        context: AbstractContextManager[None] = torch.autocast(
            self._device, self._dtype, cache_enabled=cached
        )
        return context

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss to differentiate."""
        scaled: Tensor = self.scaler.scale(loss)
        return scaled
