"""The H3 block: a state space model between two gates (Fu et al., 2023, arXiv 2212.14052, section 3)."""

from typing import Literal

import torch
from torch import Tensor, nn

from seqsuite.models.base import Block, Inspected, MakeMixer, MakeNorm, State
from seqsuite.models.blocks.feed_forward import FeedForward
from seqsuite.models.mixers.shift import ShiftSSM
from seqsuite.options import PositiveFloat, PositiveInt


class H3Block(Block):
    """Q ⊙ mixer(shift(K) ⊙ V) → out-projection, plus the residual; then a feed-forward layer with its own.

    Any mixer can stand between the gates, as in the Mamba paper's Tables 1 and 6 (its Figure 3, left). With
    ``convolved="all"`` and three taps, and Hyena's long convolution for mixer, it is the order-2 Hyena
    operator (arXiv 2302.10866, Definition 3.1), which convolves queries, keys and values.

    Args:
        d_model: Residual width D.
        make_mixer: Makes the mixer at width D.
        make_norm: Makes the norms at width D.
        d_shift: Taps of the shift SSM.
        convolved: What the shift SSM acts on: ``"key"``, or ``"all"`` of queries, keys and values.
        mlp: Feed-forward layer: ``"gelu"`` or ``"swiglu"``, or ``None`` for none.
        mlp_ratio: Hidden width of the feed-forward layer over D.
        bias: Whether the feed-forward layer has biases.
    """

    splits = True

    def __init__(
        self,
        d_model: int,
        make_mixer: MakeMixer,
        make_norm: MakeNorm,
        d_shift: PositiveInt = 64,
        convolved: Literal["key", "all"] = "key",
        mlp: Literal["gelu", "swiglu"] | None = "gelu",
        mlp_ratio: PositiveFloat = 4.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.norm = make_norm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.convolve_all = convolved == "all"
        self.shift = ShiftSSM(3 * d_model if self.convolve_all else d_model, d_shift)
        self.mixer = make_mixer(d_model)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)
        self.mlp = FeedForward(d_model, mlp, mlp_ratio, bias) if mlp else None
        self.mlp_norm = make_norm(d_model) if mlp else None

    @property
    def residual_branches(self) -> int:
        """One, and another for the feed-forward layer."""
        return 1 if self.mlp is None else 2

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        shift, inner = (None, None) if state is None else self._split(state)
        query, mixed, shift = self._project(x, shift, cu_seqlens)
        y, inner = self.mixer(mixed, inner, cu_seqlens)
        after = None if shift is None or inner is None else self._join(shift, inner)
        return self._finish(x, query * y), after

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        shift, inner = self._split(state)
        projected = self.qkv(self.norm(x_t))
        if self.convolve_all:
            projected, shift = self.shift.step(projected, shift)
        query, key, value = projected.chunk(3, dim=-1)
        if not self.convolve_all:
            key, shift = self.shift.step(key, shift)
        y, inner = self.mixer.step(key * value, inner)
        return self._finish(x_t, query * y), self._join(shift, inner)

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the mixer's state and ``key_shift``, the shift SSM's."""
        inner = self.mixer.initial_state(batch_size, device=device, dtype=dtype)
        return self._join(self.shift.initial_state(batch_size, device=device, dtype=dtype), inner)

    def state_size(self, seqlen: int) -> int:
        """Return the mixer's state size plus the shift SSM's."""
        return self.mixer.state_size(seqlen) + self.shift.state_size(seqlen)

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """See :meth:`Block.inspect`."""
        return self.mixer.inspect(self._project(x, None, None)[1])

    def residual_outputs(self) -> list[nn.Linear]:
        """Return the out-projection and the feed-forward layer's."""
        return [self.out_proj] if self.mlp is None else [self.out_proj, self.mlp.down_proj]

    def _project(
        self, x: Tensor, shift: State | None, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, Tensor, State | None]:
        """Return the queries, what is mixed, and the shift SSM's state."""
        projected = self.qkv(self.norm(x))
        if self.convolve_all:
            projected, shift = self.shift(projected, shift, cu_seqlens)
        query, key, value = projected.chunk(3, dim=-1)
        if not self.convolve_all:
            key, shift = self.shift(key, shift, cu_seqlens)
        return query, key * value, shift

    def _finish(self, x: Tensor, y: Tensor) -> Tensor:
        x = x + self.out_proj(y)
        if self.mlp is None or self.mlp_norm is None:
            return x
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out

    @staticmethod
    def _split(state: State) -> tuple[State, State]:
        """Separate the shift SSM's state from the mixer's."""
        inner = {key: value for key, value in state.items() if key != "key_shift"}
        return {"shift": state["key_shift"]}, inner

    @staticmethod
    def _join(shift: State, inner: State) -> State:
        return {"key_shift": shift["shift"], **inner}
