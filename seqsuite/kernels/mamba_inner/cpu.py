"""The CPU backend: the fused convolution and scan around matrix products, behind two PyTorch operators.

Between them nothing is copied: both kernels read and write halves of (B, L, 2 D) tensors where they lie. The
backward computes everything again but the projections, which are narrow, and the states between chunks.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqsuite.kernels.causal_conv1d import cpu as conv
from seqsuite.kernels.causal_conv1d.inputs import Inputs as ConvolutionInputs
from seqsuite.kernels.mamba_inner.reference import mamba_inner_reference
from seqsuite.kernels.operators import (
    Derivative,
    below_autograd,
    call_backward,
    define_operator,
    implement_operator,
)
from seqsuite.kernels.selective_scan import cpu_launch as scan
from seqsuite.kernels.selective_scan.inputs import Inputs as ScanInputs

INPUTS = (
    "Tensor xz, Tensor conv_weight, Tensor? conv_bias, Tensor x_proj, Tensor dt_proj, Tensor dt_bias, "
    "Tensor A, Tensor D, Tensor out_proj, Tensor? conv_state, Tensor? scan_state, Tensor? cu_seqlens"
)

# The forward gives the output, the scan's final state and, where a backward follows (``save``), the
# projections (B·L, R + 2 N) and the scan's checkpoints. The backward gives the gradients of those inputs that
# are given, in their order.
FORWARD = define_operator(
    f"mamba_inner_forward(bool save, {INPUTS}) "
    "-> (Tensor out, Tensor final_state, Tensor projected, Tensor checkpoints)"
)
BACKWARD = define_operator(
    "mamba_inner_backward("
    f"Tensor dout, Tensor? dfinal_state, Tensor projected, Tensor checkpoints, {INPUTS}) -> Tensor[]"
)


class Inputs(NamedTuple):
    """The operators' inputs: matrices and conv_state in xz's dtype, the rest float32, or float64 if xz is."""

    xz: Tensor
    conv_weight: Tensor
    conv_bias: Tensor | None
    x_proj: Tensor
    dt_proj: Tensor
    dt_bias: Tensor
    A: Tensor
    D: Tensor
    out_proj: Tensor
    conv_state: Tensor | None
    scan_state: Tensor | None
    cu_seqlens: Tensor | None

    def differentiable(self) -> dict[str, Tensor]:
        """Return by name the tensors that are given and have gradients."""
        given = self._asdict()
        del given["cu_seqlens"]
        return {name: tensor for name, tensor in given.items() if tensor is not None}

    def convolution(self) -> ConvolutionInputs:
        """Return the inputs of the convolution."""
        x = self.xz[..., : self.A.shape[0]]
        weights = self.conv_weight, self.conv_bias
        return ConvolutionInputs(x, *weights, True, self.conv_state, self.cu_seqlens)

    def scan(self, u: Tensor, projected: Tensor) -> ScanInputs:
        """Return the inputs of the scan, given its input u and the projections."""
        (d_model, d_state), rank = self.A.shape, self.dt_proj.shape[1]
        delta = torch.mm(projected[:, :rank], self.dt_proj.t()).view(u.shape)
        B, C = (
            projected[:, start : start + d_state].to(self.A.dtype).view(*u.shape[:2], 1, d_state)
            for start in (rank, rank + d_state)
        )
        z = self.xz[..., d_model:]
        state = self.scan_state
        return ScanInputs(u, delta, self.A, B, C, self.D, z, self.dt_bias, True, state, self.cu_seqlens)


def mamba_inner_cpu(
    xz: Tensor,
    conv_weight: Tensor,
    conv_bias: Tensor | None,
    x_proj: Tensor,
    dt_proj: Tensor,
    dt_bias: Tensor,
    A: Tensor,
    D: Tensor,
    out_proj: Tensor,
    conv_state: Tensor | None,
    scan_state: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Compute :func:`seqsuite.kernels.mamba_inner`; return out and the scan's final state."""
    narrow, wide = xz.dtype, torch.promote_types(xz.dtype, torch.float32)
    out, final_state, _, _ = FORWARD(
        False,
        xz,
        conv_weight.to(wide),
        None if conv_bias is None else conv_bias.to(wide),
        x_proj.to(narrow),
        dt_proj.to(narrow),
        dt_bias.to(wide),
        A.to(wide),
        D.to(wide),
        out_proj.to(narrow),
        conv_state,
        None if scan_state is None else scan_state.to(wide),
        cu_seqlens,
    )
    return out, final_state


def _forward(save: bool, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    with torch.autocast("cpu", enabled=False):  # the dtypes are right already
        return _run_forward(Inputs(*arguments), save)


def _run_forward(inputs: Inputs, save: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    u = conv.run_forward(inputs.convolution())
    projected = torch.mm(_rows(u), inputs.x_proj.t())
    y, final_state, checkpoints = scan.run_forward(inputs.scan(u, projected), save)
    out = torch.mm(_rows(y), inputs.out_proj.t()).view(*u.shape[:2], -1)
    return out, final_state, projected if save else projected.new_empty(0), checkpoints


def _forward_fake(save: bool, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inputs = Inputs(*arguments)
    xz, A = inputs.xz, inputs.A
    projected = xz.new_empty((xz.shape[0] * xz.shape[1], inputs.x_proj.shape[0]))
    u = xz.new_empty((*xz.shape[:2], A.shape[0]))
    geometry = scan.Geometry.of_scan(inputs.scan(u, projected))
    return (
        xz.new_empty((*xz.shape[:2], inputs.out_proj.shape[0])),
        A.new_empty((geometry.sequences, *A.shape)),
        projected if save else xz.new_empty(0),
        A.new_empty(geometry.checkpoint_shape if save else (0,)),
    )


def _plain(save: bool, *arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    out, final_state = mamba_inner_reference(*Inputs(*arguments), "reference")
    return out, final_state, out.new_empty(0), final_state.new_empty(0)


class _MambaInner(Derivative):
    """The forward with its derivative."""

    @staticmethod
    def forward(ctx: Any, save: bool, *inputs: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        out, final_state, projected, checkpoints = below_autograd(FORWARD, True, *inputs)
        ctx.save_for_backward(projected, checkpoints, *inputs)
        ctx.mark_non_differentiable(projected, checkpoints)
        ctx.set_materialize_grads(False)
        return out, final_state, projected, checkpoints

    @staticmethod
    def backward(ctx: Any, dout: Tensor | None, dfinal_state: Tensor | None, *_: None) -> tuple[Any, ...]:
        projected, checkpoints, *saved = ctx.saved_tensors
        inputs = Inputs(*saved)
        if dout is None:
            dout = inputs.xz.new_zeros(*inputs.xz.shape[:2], inputs.out_proj.shape[0])
        gradients = call_backward(BACKWARD, dout, dfinal_state, projected, checkpoints, *inputs)
        by_name = dict(zip(inputs.differentiable(), gradients, strict=True))
        needed = zip(Inputs._fields, ctx.needs_input_grad[1:], strict=True)
        return (None, *(by_name.get(name) if wanted else None for name, wanted in needed))


def _backward(
    dout: Tensor,
    dfinal_state: Tensor | None,
    projected: Tensor,
    checkpoints: Tensor,
    *arguments: Any,
) -> list[Tensor]:
    inputs = Inputs(*arguments)
    with torch.autocast("cpu", enabled=False):
        gradients = _run_backward(dout, dfinal_state, projected, checkpoints, inputs)
    return [gradients[name] for name in inputs.differentiable()]


def _run_backward(
    dout: Tensor, dfinal_state: Tensor | None, projected: Tensor, checkpoints: Tensor, inputs: Inputs
) -> dict[str, Tensor]:
    """Return the gradients by the names of the inputs."""
    (d_model, d_state), rank = inputs.A.shape, inputs.dt_proj.shape[1]
    dout = _rows(dout)
    u = conv.run_forward(inputs.convolution())
    dxz = torch.empty_like(inputs.xz, memory_format=torch.contiguous_format)
    dy = torch.mm(dout, inputs.out_proj).view(u.shape)
    scan_inputs = inputs.scan(u, projected)
    y = dy  # its memory, as delta's becomes ddelta's: new memory costs as much as the work on it
    into = {"dz": dxz[..., d_model:], "ddelta": scan_inputs.delta, "y": y}
    by_scan = scan.run_backward(dy, dfinal_state, checkpoints, scan_inputs, into)
    ddelta, du = _rows(by_scan["ddelta"]), _rows(by_scan["du"])
    dprojected = torch.empty_like(projected)
    # Where a matrix is narrow, which way round its product is taken makes MKL several times faster.
    dprojected[:, :rank] = torch.mm(ddelta, inputs.dt_proj.t().contiguous().t())
    dprojected[:, rank : rank + d_state] = by_scan["dB"].view(-1, d_state)
    dprojected[:, rank + d_state :] = by_scan["dC"].view(-1, d_state)
    du.addmm_(dprojected, inputs.x_proj)
    by_convolution = conv.run_backward(du.view(u.shape), inputs.convolution(), dx=dxz[..., :d_model])
    optional = {
        "conv_bias": by_convolution.get("bias"),
        "conv_state": by_convolution.get("initial_state"),
        "scan_state": by_scan.get("dinitial_state"),
    }
    return {
        "xz": dxz,
        "conv_weight": by_convolution["weight"],
        "x_proj": torch.mm(dprojected.t(), _rows(u)),
        "dt_proj": torch.mm(projected[:, :rank].t(), ddelta).t().contiguous(),
        "dt_bias": by_scan["ddelta_bias"],
        "A": by_scan["dA"],
        "D": by_scan["dD"],
        "out_proj": torch.mm(dout.t(), _rows(y)),
        **{name: gradient for name, gradient in optional.items() if gradient is not None},
    }


def _backward_fake(
    dout: Tensor,
    dfinal_state: Tensor | None,
    projected: Tensor,
    checkpoints: Tensor,
    *arguments: Any,
) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in Inputs(*arguments).differentiable().values()]


def _rows(tensor: Tensor) -> Tensor:
    """Return (B, L, D) as (B·L, D)."""
    return tensor.reshape(-1, tensor.shape[-1])


implement_operator(FORWARD, _forward, _forward_fake, _MambaInner, _plain)
implement_operator(BACKWARD, _backward, _backward_fake)
