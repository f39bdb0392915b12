"""The convolutions that ``python -m seqsuite.kernels.ahead_of_time`` compiles and reports."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seqsuite.kernels.ahead_of_time.report import Launch, Trips
from seqsuite.kernels.causal_conv1d.inputs import Inputs
from seqsuite.kernels.causal_conv1d.triton_launch import run_backward, run_forward
from seqsuite.kernels.gpu.launch import Runtime


@dataclass(frozen=True)
class Variant:
    """Sizes and options of a convolution."""

    batch: int = 1
    seqlen: int = 524_288
    d_model: int = 1024
    taps: int = 4
    dtype: torch.dtype = torch.bfloat16
    options: bool = True
    offsets: tuple[int, ...] | None = None

    @property
    def elements(self) -> int:
        """The number of outputs."""
        return self.batch * self.seqlen * self.d_model

    def inputs(self) -> Inputs:
        """Return inputs on the device "meta"; only offsets have values."""
        wide = torch.promote_types(self.dtype, torch.float32)

        def empty(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.empty(shape, dtype=dtype, device="meta")

        sequences = self.batch if self.offsets is None else len(self.offsets) - 1
        state = empty(sequences, self.taps - 1, self.d_model, dtype=self.dtype)
        return Inputs(
            x=empty(self.batch, self.seqlen, self.d_model, dtype=self.dtype),
            weight=empty(self.d_model, self.taps, dtype=wide),
            bias=empty(self.d_model, dtype=wide) if self.options else None,
            activation=self.options,
            initial_state=state if self.options else None,
            cu_seqlens=None if self.offsets is None else torch.tensor(self.offsets),
        )

    def run(self, runtime: Callable[[str], Runtime], inputs: Inputs | None = None) -> None:
        """Call the forward and the backward, on these inputs or on those without memory."""
        inputs = inputs or self.inputs()
        y = run_forward(inputs, runtime("forward"))
        run_backward(y, inputs, runtime("backward"))

    def trips(self, launch: Launch) -> Trips:
        """Return how often the kernel's one loop runs in a program."""
        if launch.name == "sum_parts_kernel":
            return [(launch.arguments["count"] / launch.arguments["PARTS"], [])]
        rows = self.batch * self.seqlen / len(launch.arguments["segments"])
        if launch.name == "gradient_kernel":
            rows += self.taps - 1
        return [(-(-rows // launch.arguments["STEPS"]), [])]


VARIANTS = {
    "long": Variant(),
    "plain": Variant(d_model=1000, dtype=torch.float32, options=False),
}
