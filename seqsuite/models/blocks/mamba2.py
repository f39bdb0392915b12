"""The Mamba-2 block (Dao & Gu, 2024, arXiv 2405.21060, section 7.1 and Figure 6)."""

import torch
from torch import Tensor, nn

from seqsuite.kernels import rms_norm
from seqsuite.kernels.mamba_decoder.weights import Mamba2Weights
from seqsuite.models.base import (
    Block,
    ControlledMixer,
    Inspected,
    MakeMixer,
    MakeNorm,
    State,
    is_plain_linear,
    norm_weights,
)
from seqsuite.models.blocks.mamba import join_state, split_state
from seqsuite.models.initialization import assign
from seqsuite.models.norms import RMSNorm
from seqsuite.models.short_convolution import convolve, convolve_step, short_biases, short_filters
from seqsuite.options import PositiveFloat, PositiveInt


class Mamba2Block(Block):
    """norm → one projection → short convolution, SiLU → mixer → gated RMSNorm → out-projection, plus x.

    The projection gives the gate z, the mixer's input x, and the mixer's controls where it has any: for SSD
    these are B and C, which are convolved together with x, and Δ, which is not.

    Args:
        d_model: Residual width D.
        make_mixer: Makes the mixer at width expand · D.
        make_norm: Makes the norm at width D.
        expand: How many times wider the inside is.
        d_conv: Taps K of the convolution.
        bias: Whether the in- and the out-projection have biases.
        conv_bias: Whether the convolution has one.
        norm_groups: Groups of channels that the gated norm looks at by themselves.
        norm_eps: What the gated norm adds to the mean square before its root.

    Raises:
        ValueError: if the norm's groups do not divide the inside.
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
        norm_groups: PositiveInt = 1,
        norm_eps: PositiveFloat = 1e-5,
    ) -> None:
        super().__init__()
        self.d_inner, self.d_conv = expand * d_model, d_conv
        self.norm = make_norm(d_model)
        self.mixer = make_mixer(self.d_inner)
        convolved, self.plain = 0, 0
        if isinstance(self.mixer, ControlledMixer):
            self.mixer.take_controls()
            convolved, self.plain = self.mixer.convolved, self.mixer.plain
        self.d_convolved = self.d_inner + convolved
        self.in_proj = nn.Linear(d_model, self.d_inner + self.d_convolved + self.plain, bias=bias)
        self.conv_weight = nn.Parameter(torch.empty(self.d_convolved, d_conv))
        self.conv_bias = nn.Parameter(torch.empty(self.d_convolved)) if conv_bias else None
        self.reset_parameters()
        if self.d_inner % norm_groups:
            raise ValueError(
                f"mamba2 needs its inner width {self.d_inner} divisible by norm_groups, got {norm_groups}"
            )
        self.norm_groups = norm_groups
        self.gated_norm = RMSNorm(self.d_inner, norm_eps)
        self.out_proj = nn.Linear(self.d_inner, d_model, bias=bias)

    def reset_parameters(self) -> None:
        """Draw the convolution's filters and biases."""
        assign(self.conv_weight, short_filters(self.d_convolved, self.d_conv))
        if self.conv_bias is not None:
            assign(self.conv_bias, short_biases(self.d_convolved, self.d_conv))

    def forward(
        self, x: Tensor, state: State | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, State | None]:
        """See :meth:`SequenceLayer.forward`."""
        gate, u, plain = self._project(x)
        history, inner = split_state(state)
        u, after = convolve(
            u, history, self.conv_weight, self.conv_bias, activation=True, cu_seqlens=cu_seqlens
        )
        if isinstance(self.mixer, ControlledMixer):
            u, convolved = torch.split(u, [self.d_inner, self.d_convolved - self.d_inner], dim=-1)
            y, inner = self.mixer(u, inner, cu_seqlens, controls=(convolved, plain))
        else:
            y, inner = self.mixer(u, inner, cu_seqlens)
        return x + self._finish(y, gate), join_state(after, inner)

    def step(self, x_t: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`SequenceLayer.step`."""
        gate, u, plain = self._project(x_t)
        history, inner = split_state(state)
        assert history is not None
        assert inner is not None
        u, after = convolve_step(u, history, self.conv_weight, self.conv_bias, activation=True)
        if isinstance(self.mixer, ControlledMixer):
            u, convolved = torch.split(u, [self.d_inner, self.d_convolved - self.d_inner], dim=-1)
            y, inner = self.mixer.step(u, inner, controls=(convolved, plain))
        else:
            y, inner = self.mixer.step(u, inner)
        return x_t + self._finish(y, gate), {"conv": after, **inner}

    def initial_state(
        self, batch_size: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """Return the mixer's state and ``conv`` (B, K − 1, …), the convolution's last inputs."""
        size = (batch_size, self.d_conv - 1, self.d_convolved)
        conv = torch.zeros(size, device=device, dtype=dtype or self.conv_weight.dtype)
        return {"conv": conv, **self.mixer.initial_state(batch_size, device=device, dtype=dtype)}

    def state_size(self, seqlen: int) -> int:
        """Return the mixer's state size plus that of the convolution's last inputs."""
        return self.mixer.state_size(seqlen) + (self.d_conv - 1) * self.d_convolved

    def inspect(self, x: Tensor) -> dict[str, Inspected]:
        """See :meth:`Block.inspect`."""
        _, u, plain = self._project(x)
        u, _ = convolve(u, None, self.conv_weight, self.conv_bias, activation=True)
        if not isinstance(self.mixer, ControlledMixer):
            return self.mixer.inspect(u)
        u, convolved = torch.split(u, [self.d_inner, self.d_convolved - self.d_inner], dim=-1)
        return self.mixer.inspect(u, (convolved, plain))

    def residual_outputs(self) -> list[nn.Linear]:
        """Return the out-projection."""
        return [self.out_proj]

    def decoder_weights(self) -> Mamba2Weights | None:
        """See :meth:`Block.decoder_weights`: of a block with SSD and RMSNorm."""
        norm, gated_norm = norm_weights(self.norm), norm_weights(self.gated_norm)
        ssd = self.mixer.ssd_weights() if isinstance(self.mixer, ControlledMixer) else None
        if norm is None or gated_norm is None or ssd is None:
            return None
        if not is_plain_linear(self.in_proj, self.out_proj):
            return None
        return Mamba2Weights(
            norm=norm,
            in_proj=self.in_proj.weight,
            in_bias=self.in_proj.bias,
            conv_weight=self.conv_weight,
            conv_bias=self.conv_bias,
            out_proj=self.out_proj.weight,
            out_bias=self.out_proj.bias,
            ssd=ssd,
            gated_norm=gated_norm,
            norm_groups=self.norm_groups,
        )

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gate, what is convolved (x and controls), and the controls that are not."""
        projected = self.in_proj(self.norm(x))
        gate, u, plain = projected.split([self.d_inner, self.d_convolved, self.plain], dim=-1)
        return gate, u, plain

    def _finish(self, y: Tensor, gate: Tensor) -> Tensor:
        weight, eps = self.gated_norm.weight, self.gated_norm.eps
        if self.norm_groups == 1:
            normed = rms_norm(y, weight, eps, gate=gate)
        else:
            grouped = (*y.shape[:-1], self.norm_groups, -1)
            one = weight.new_ones(self.d_inner // self.norm_groups)
            normed = rms_norm(y.reshape(grouped), one, eps, gate=gate.reshape(grouped)).flatten(-2) * weight
        out: Tensor = self.out_proj(normed)
        return out
