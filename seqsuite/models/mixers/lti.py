"""What the time-invariant state space layers share: convolution when training, recurrence when generating."""

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqsuite.kernels import full_precision, long_conv
from seqsuite.kernels.packing import PaddedBatches
from seqsuite.models.base import Inspected, Mixer, State, longest_sequence
from seqsuite.models.flops import long_convolution_flops
from seqsuite.models.initialization import assign
from seqsuite.models.precision import widened
from seqsuite.models.split import split_peers

Carry = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes states h (B, D, …) before chunks, the chunks' inputs with the last first (B, L, D), and their lengths
(B,) or (1,), after which inputs are zero. Returns what the states add to the outputs, C Ā^{t+1} h, real
(B, L, D), and the states after the chunks."""


class TimeInvariantSSM(Mixer):
    """D independent single-input single-output state space models with fixed parameters, plus a skip D·u.

    A subclass says how one channel's system looks: its convolution kernel (CNN mode), its step (RNN mode),
    and how a state goes through a chunk.
    """

    splits = True
    complex_state = True
    """Whether the state is complex, one of each conjugate pair."""

    log_dt: nn.Parameter
    """The logarithm of the step size Δ of each channel (D,), which a subclass makes."""

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
    def carrier(self, longest: int, batch: int) -> Carry:
        """Return what carries states through ``batch`` chunks at once, of up to ``longest`` positions."""

    @abstractmethod
    def advance(self, x_t: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return C h' (B, D) and h' = Ā h + B̄ x_t for one position, with h as in the state."""

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """CNN mode: see :meth:`SequenceLayer.forward`."""
        longest = longest_sequence(x, cu_seqlens)
        with full_precision(x.device):
            y = long_conv(x, self.kernel(longest), cu_seqlens=cu_seqlens) + x * self.D
            if state is None:
                return y, None
            inputs, h = x.to(torch.promote_types(x.dtype, torch.float32)), state["ssm"]
            if split_peers() is not None:
                h = self._before_part(h, inputs)
            carry = self.carrier(longest, x.shape[0])
            if cu_seqlens is None:
                carried, h = carry(h, inputs.flip(1), torch.full((1,), longest, device=x.device))
            else:
                batches = PaddedBatches.of(cu_seqlens, x.shape[1], x.device)
                parts = zip(
                    batches.split_states(h),
                    batches.split(inputs, backwards=True),
                    batches.lengths,
                    strict=True,
                )
                done = [carry(*part) for part in parts]
                carried = batches.join([y for y, _ in done])
                h = batches.join_states([after for _, after in done])
            return y + carried.to(y.dtype), {"ssm": h}

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """RNN mode: see :meth:`SequenceLayer.step`."""
        y, h = self.advance(x_t, state["ssm"])
        return y.to(x_t.dtype) + x_t * self.D, {"ssm": h}

    def flops(self, seqlen: int) -> int:
        """Return those of the convolution with a kernel, which a batch computes once."""
        return long_convolution_flops(self.d_model, seqlen)

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """Return the ``kernel`` (D, L), and what the recurrence makes of the ``input`` (B, L, D).

        That is the ``state`` (B, L, D, N/2 or N) and the ``output`` (B, L, D) read from it, both without the
        skip: the kernel convolved with the input gives the same output. The step size ``delta`` is (D).
        """
        delta = torch.exp(widened(self.log_dt))
        h = self.initial_state(x.shape[0], device=x.device, dtype=x.dtype)["ssm"]
        states, outputs = [], []
        for x_t in x.unbind(1):
            y_t, h = self.advance(x_t, h)
            states.append(h)
            outputs.append(y_t)
        by_channel = ("batch", "position", "channel")
        return {
            "kernel": Inspected(self.kernel(x.shape[1]), ("channel", "lag"), "output an input"),
            "delta": Inspected(delta, ("channel",), "time a position"),
            "input": Inspected(x, by_channel),
            "state": Inspected(torch.stack(states, dim=1), (*by_channel, "state")),
            "output": Inspected(torch.stack(outputs, dim=1), by_channel),
        }

    def _before_part(self, h: Tensor, inputs: Tensor) -> Tensor:
        """Return the state before this process's part of sequences that start from h (B, D, …).

        What a part does to a state follows from its length: only the states after the parts are told.
        """
        peers = split_peers()
        assert peers is not None
        batch, length, _ = inputs.shape
        carry = self.carrier(max(length, *peers.before, 1), batch)

        def run(h: Tensor, inputs: Tensor, length: int) -> Tensor:
            return carry(h, inputs, torch.full((1,), length, device=h.device))[1]

        [zero], *parts = peers.earlier(run(torch.zeros_like(h), inputs.flip(1), length))
        h, nothing = h + zero, torch.zeros_like(inputs[:, :1])
        for length, [final] in zip(peers.before, parts, strict=True):
            h = run(h, nothing, length) + final
        return h

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
