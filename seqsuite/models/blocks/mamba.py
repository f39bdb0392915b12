"""The Mamba block: gate, short convolution and mixer at twice the width (Mamba paper, Figure 3)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqsuite.kernels import InnerStates, ScanWeights, mamba_inner
from seqsuite.kernels.mamba_decoder.weights import MambaWeights
from seqsuite.models.base import (
    Block,
    GatedMixer,
    Inspected,
    MakeMixer,
    MakeNorm,
    State,
    is_plain_linear,
    norm_weights,
)
from seqsuite.models.initialization import assign
from seqsuite.models.short_convolution import convolve, convolve_step, short_biases, short_filters
from seqsuite.models.split import split_peers
from seqsuite.options import PositiveInt


class MambaBlock(Block):
    """norm → in-projection → short convolution, SiLU → mixer, gated → out-projection, plus the residual.

    Args:
        d_model: Residual width D.
        make_mixer: Makes the mixer at width expand · D.
        make_norm: Makes the norm at width D.
        expand: How many times wider the inside is.
        d_conv: Taps K of the convolution.
        bias: Whether the in- and the out-projection have biases.
        conv_bias: Whether the convolution has one.
    """

    splits = True

    def __init__(
        self,
        d_model: int,
        make_mixer: MakeMixer,
        make_norm: MakeNorm,
        expand: PositiveInt = 2,
        d_conv: PositiveInt = 4,
        bias: bool = False,
        conv_bias: bool = True,
    ) -> None:
        super().__init__()
        self.d_inner, self.d_conv = expand * d_model, d_conv
        self.norm = make_norm(d_model)
        self.in_proj = nn.Linear(d_model, 2 * self.d_inner, bias=bias)
        self.conv_weight = nn.Parameter(torch.empty(self.d_inner, d_conv))
        self.conv_bias = nn.Parameter(torch.empty(self.d_inner)) if conv_bias else None
        self.reset_parameters()
        self.mixer = make_mixer(self.d_inner)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias)

    def reset_parameters(self) -> None:
        """Draw the convolution's filters and biases."""
        assign(self.conv_weight, short_filters(self.d_inner, self.d_conv))
        if self.conv_bias is not None:
            assign(self.conv_bias, short_biases(self.d_inner, self.d_conv))

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        xz = self.in_proj(self.norm(x))
        # A part of a sequence learns what lies before it between the convolution and the scan.
        fuses = is_plain_linear(self.out_proj) and split_peers() is None
        weights = self._scan_weights() if fuses else None
        if weights is not None:
            y, state = self._fused(xz, weights, state, cu_seqlens)
            return x + y, state
        u, gate = xz.chunk(2, dim=-1)
        history, inner = split_state(state)
        u, after = convolve(
            u, history, self.conv_weight, self.conv_bias, activation=True, cu_seqlens=cu_seqlens
        )
        if isinstance(self.mixer, GatedMixer):
            y, inner = self.mixer(u, inner, cu_seqlens, gate=gate)
        else:
            y, inner = self.mixer(u, inner, cu_seqlens)
            y = y * F.silu(gate)
        return x + self.out_proj(y), join_state(after, inner)

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        u, gate = self.in_proj(self.norm(x_t)).chunk(2, dim=-1)
        history, inner = split_state(state)
        assert history is not None
        assert inner is not None
        u, after = convolve_step(u, history, self.conv_weight, self.conv_bias, activation=True)
        if isinstance(self.mixer, GatedMixer):
            y, inner = self.mixer.step(u, inner, gate)
        else:
            y, inner = self.mixer.step(u, inner)
            y = y * F.silu(gate)
        return x_t + self.out_proj(y), {"conv": after, **inner}

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the mixer's state and ``conv`` (B, K − 1, expand · D), the convolution's last inputs."""
        size = (batch_size, self.d_conv - 1, self.d_inner)
        conv = torch.zeros(size, device=device, dtype=dtype or self.conv_weight.dtype)
        return {"conv": conv, **self.mixer.initial_state(batch_size, device=device, dtype=dtype)}

    def state_size(self, seqlen: int) -> int:
        """Return the mixer's state size plus (K − 1) · expand · D."""
        return self.mixer.state_size(seqlen) + (self.d_conv - 1) * self.d_inner

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """See :meth:`Block.inspect`."""
        u = self.in_proj(self.norm(x))[..., : self.d_inner]
        return self.mixer.inspect(convolve(u, None, self.conv_weight, self.conv_bias, activation=True)[0])

    def residual_outputs(self) -> list[nn.Linear]:
        """Return the out-projection."""
        return [self.out_proj]

    def decoder_weights(self) -> MambaWeights | None:
        """See :meth:`Block.decoder_weights`: of a block with S6 and RMSNorm."""
        norm, scan = norm_weights(self.norm), self._scan_weights()
        if norm is None or scan is None or not is_plain_linear(self.in_proj, self.out_proj):
            return None
        return MambaWeights(
            norm=norm,
            in_proj=self.in_proj.weight,
            in_bias=self.in_proj.bias,
            conv_weight=self.conv_weight,
            conv_bias=self.conv_bias,
            out_proj=self.out_proj.weight,
            out_bias=self.out_proj.bias,
            scan=scan,
        )

    def _scan_weights(self) -> ScanWeights | None:
        return self.mixer.scan_weights() if isinstance(self.mixer, GatedMixer) else None

    def _fused(
        self, xz: Tensor, weights: ScanWeights, state: State | None, cu_seqlens: Tensor | None
    ) -> tuple[Tensor, State | None]:
        """Compute everything from the convolution to the out-projection in one operation."""
        inputs = (xz, self.conv_weight, self.conv_bias, weights, self.out_proj.weight)
        if state is None:
            y, after = mamba_inner(*inputs, cu_seqlens=cu_seqlens), None
        else:
            before = InnerStates(state["conv"], state["ssm"])
            y, states = mamba_inner(
                *inputs, initial_states=before, cu_seqlens=cu_seqlens, return_final_states=True
            )
            after = {"conv": states.conv, "ssm": states.scan}
        return y if self.out_proj.bias is None else y + self.out_proj.bias, after


def split_state(state: State | None) -> tuple[Tensor | None, State | None]:
    """Separate the convolution's history from the mixer's state."""
    if state is None:
        return None, None
    return state["conv"], {key: value for key, value in state.items() if key != "conv"}


def join_state(conv: Tensor | None, inner: State | None) -> State | None:
    """Put them together again."""
    return None if conv is None or inner is None else {"conv": conv, **inner}
