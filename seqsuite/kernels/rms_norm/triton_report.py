"""The norms that ``python -m seqsuite.kernels.ahead_of_time`` compiles and reports."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seqsuite.kernels.ahead_of_time.report import Launch, Trips
from seqsuite.kernels.gpu.launch import Runtime
from seqsuite.kernels.rms_norm.inputs import Inputs
from seqsuite.kernels.rms_norm.triton_launch import run_backward, run_forward


@dataclass(frozen=True)
class Variant:
    """Sizes and options of a norm."""

    rows: int = 524_288
    d_model: int = 1024
    form: str = "alone"
    dtype: torch.dtype = torch.bfloat16

    @property
    def elements(self) -> int:
        """The number of outputs."""
        return self.rows * self.d_model

    def inputs(self) -> Inputs:
        """Return inputs on the device "meta"."""
        wide = torch.promote_types(self.dtype, torch.float32)

        def numbers() -> Tensor:
            return torch.empty(self.rows, self.d_model, dtype=self.dtype, device="meta")

        return Inputs(
            x=numbers(),
            weight=torch.empty(self.d_model, dtype=wide, device="meta"),
            eps=1e-5,
            gate=numbers() if self.form == "gate" else None,
            residual=numbers() if self.form == "residual" else None,
        )

    def run(self, runtime: Callable[[str], Runtime], inputs: Inputs | None = None) -> None:
        """Call the forward and the backward, on these inputs or on those without memory."""
        inputs = inputs or self.inputs()
        y, total = run_forward(inputs, runtime("forward"))
        run_backward(y, total if self.form == "residual" else None, inputs, runtime("backward"))

    def trips(self, launch: Launch) -> Trips:
        """Return how often the kernel's one loop runs in a program, if there is one."""
        if launch.name == "sum_parts_kernel":
            return [(launch.arguments["count"] / launch.arguments["PARTS"], [])]
        times = launch.arguments["ROWS"] / launch.arguments["TILE"]
        return [(times, [])] if times > 1 else []


VARIANTS = {
    "long": Variant(form="gate"),
    "residual": Variant(d_model=1000, form="residual", dtype=torch.float32),
}
