"""The shift state space model of H3 (Fu et al., 2023, arXiv 2212.14052, section 3.1)."""

import torch
from torch import Tensor, nn

from seqsuite.models.base import Inspected, Mixer, State
from seqsuite.models.initialization import assign
from seqsuite.models.short_convolution import convolve, convolve_step, short_filters
from seqsuite.options import PositiveInt


class ShiftSSM(Mixer):
    """Shift SSM: A moves the state by one place and B writes its first, so that C holds N taps of a filter.

    The last N − 1 inputs are all there is to remember, and the model is a convolution with N taps a channel:
    that is how it is computed.

    Args:
        d_model: Width D.
        d_state: Taps N.
    """

    splits = True

    def __init__(self, d_model: int, d_state: PositiveInt = 64) -> None:
        super().__init__()
        self.d_model, self.d_state = d_model, d_state
        self.weight = nn.Parameter(torch.empty(d_model, d_state))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the taps as a short convolution's."""
        assign(self.weight, short_filters(self.d_model, self.d_state))

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        y, after = convolve(x, None if state is None else state["shift"], self.weight, cu_seqlens=cu_seqlens)
        return y, None if after is None else {"shift": after}

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        y, after = convolve_step(x_t, state["shift"], self.weight)
        return y, {"shift": after}

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return the convolution's ``kernel`` (D, N), the tap of the present first."""
        return {"kernel": Inspected(self.weight.flip(1), ("channel", "lag"), "output an input")}

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return ``shift`` (B, N − 1, D): no inputs yet."""
        size = (batch_size, self.d_state - 1, self.d_model)
        return {"shift": torch.zeros(size, device=device, dtype=dtype or self.weight.dtype)}

    def state_size(self, seqlen: int) -> int:
        """Return (N − 1) · D, whatever the length."""
        return (self.d_state - 1) * self.d_model
