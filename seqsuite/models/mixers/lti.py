"""What the time-invariant state space layers share: convolution when training, recurrence when generating."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from seqsuite.kernels import full_precision, long_conv
from seqsuite.models.base import Mixer, State, longest_sequence, run_packed
from seqsuite.models.initialization import assign


class TimeInvariantSSM(Mixer):
    """D independent single-input single-output state space models with fixed parameters, plus a skip D·u.

    A subclass says how one channel's system looks: its convolution kernel (CNN mode), its step (RNN mode),
    and the two maps that carry a state across chunks.
    """

    complex_state = True
    """Whether the state is complex, one of each conjugate pair."""

    def __init__(self, d_model: int, d_state: int) -> None:
        super().__init__()
        self.d_model, self.d_state = d_model, d_state
        self.D = nn.Parameter(torch.empty(d_model))

    def reset_parameters(self) -> None:
        """Draw the skip from the normal distribution; a subclass does so with the rest."""
        assign(self.D, torch.randn(self.d_model))

    @abstractmethod
    def kernel(self, seqlen: int) -> Tensor:
        """Return the convolution kernel K_k = C Ā^k B̄ for k < seqlen, real (D, seqlen)."""

    @abstractmethod
    def carry(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what an entering state adds to the outputs of a chunk, and the state after the chunk.

        Args:
            x: The chunk's inputs (B, L, D).
            state: The state before it.

        Returns:
            The contribution C Ā^{t+1} h (B, L, D), real, and the next state.
        """

    @abstractmethod
    def advance(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return C h' (B, D) and h' = Ā h + B̄ x_t for one position, with h as in the state."""

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """CNN mode: see :meth:`SequenceLayer.forward`."""
        if cu_seqlens is not None and state is not None:
            return run_packed(self.forward, x, state, cu_seqlens)
        with full_precision(x.device):
            kernel = self.kernel(longest_sequence(x, cu_seqlens))
            y = long_conv(x, kernel, cu_seqlens=cu_seqlens) + x * self.D
            if state is None:
                return y, None
            carried, after = self.carry(x, state)
            return y + carried.to(y.dtype), after

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """RNN mode: see :meth:`SequenceLayer.step`."""
        y, h = self.advance(x_t, state["ssm"])
        return y.to(x_t.dtype) + x_t * self.D, {"ssm": h}

    def inspect(self, x: Tensor) -> dict[str, Tensor]:
        """Return the convolution's ``kernel`` (D, L), without the skip."""
        return {"kernel": self.kernel(x.shape[1])}

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return a zero state ``ssm``: complex (B, D, N/2), or real (B, D, N)."""
        dtype, pairs = torch.promote_types(dtype or self.D.dtype, torch.float32), self.d_state
        if self.complex_state:
            dtype, pairs = dtype.to_complex(), self.d_state // 2
        return {"ssm": torch.zeros(batch_size, self.d_model, pairs, device=device, dtype=dtype)}

    def state_size(self, seqlen: int) -> int:
        """Return D · N, whatever the length: N real or N/2 complex numbers a channel."""
        return self.d_model * self.d_state
