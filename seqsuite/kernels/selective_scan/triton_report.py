"""The scans that ``python -m seqsuite.kernels.ahead_of_time`` compiles and reports."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from seqsuite.kernels.ahead_of_time.report import Launch, Trips
from seqsuite.kernels.gpu.launch import Runtime
from seqsuite.kernels.selective_scan.inputs import Inputs
from seqsuite.kernels.selective_scan.triton_launch import run_backward, run_forward


@dataclass(frozen=True)
class Variant:
    """Sizes and options of a scan."""

    batch: int = 1
    seqlen: int = 524_288
    d_model: int = 1024
    d_state: int = 16
    groups: int = 1
    dtype: torch.dtype = torch.bfloat16
    options: bool = True
    states: bool = False
    offsets: tuple[int, ...] | None = None

    @property
    def elements(self) -> int:
        """The number of states over all rows."""
        return self.batch * self.seqlen * self.d_model * self.d_state

    def inputs(self) -> Inputs:
        """Return inputs on the device "meta"; only offsets have values."""

        state_dtype = torch.float64 if self.dtype == torch.float64 else torch.float32

        def empty(*shape: int, dtype: torch.dtype = state_dtype) -> Tensor:
            return torch.empty(shape, dtype=dtype, device="meta")

        rows = (self.batch, self.seqlen)
        channels = empty(*rows, self.d_model, dtype=self.dtype)
        projection = empty(*rows, self.groups, self.d_state)
        sequences = self.batch if self.offsets is None else len(self.offsets) - 1
        return Inputs(
            u=channels,
            delta=channels,
            A=empty(self.d_model, self.d_state),
            B=projection,
            C=projection,
            D=empty(self.d_model) if self.options else None,
            z=channels if self.options else None,
            delta_bias=empty(self.d_model) if self.options else None,
            delta_softplus=self.options,
            initial_state=empty(sequences, self.d_model, self.d_state) if self.states else None,
            cu_seqlens=None if self.offsets is None else torch.tensor(self.offsets),
        )

    def run(self, runtime: Callable[[str], Runtime], inputs: Inputs | None = None) -> None:
        """Call the forward and the backward, on these inputs or on those without memory."""
        inputs = inputs or self.inputs()
        y, final_state, checkpoints = run_forward(inputs, save=True, runtime=runtime("forward"))
        dfinal_state = final_state if self.states else None
        run_backward(y, dfinal_state, checkpoints, inputs, runtime=runtime("backward"))

    def trips(self, launch: Launch) -> Trips:
        """Return how often each loop of the kernel runs in a program, where tiles fit the sizes."""
        arguments = launch.arguments
        if launch.name == "combine_kernel":
            offsets = arguments["segment_offsets"]
            return [(arguments["state"].shape[0] / (len(offsets) - 1) / arguments["AHEAD"], [])]
        if launch.name == "sum_kernel":
            parts = arguments["segments_count"] / arguments["PARTS"]
            return [(parts, []), (arguments["blocks"] / arguments["AHEAD"], [])]
        rows, chunk = self.batch * self.seqlen / len(arguments["segments"]), arguments.get("CHUNK", 1)
        if launch.name == "output_kernel":
            return [(rows / chunk, [(chunk, [])])]
        steps = arguments["STEPS"]
        if launch.name != "gradient_kernel":
            return [(rows / steps, []), (0, [])]
        by_state: Trips = [(arguments["N"] / arguments["TOGETHER"], [])]
        in_chunk: Trips = [
            (chunk / steps, [(steps / arguments["READ"], [])]),
            (0, []),
            (0, by_state),
            (chunk / steps, by_state),
        ]
        return [(arguments["items"] / launch.programs, [(rows / chunk, in_chunk)])]


REFERENCE = Variant()
VARIANTS = {
    "long": REFERENCE,
    "batch": Variant(batch=128, seqlen=4096, dtype=torch.float32, states=True),
    "plain": Variant(d_model=1000, groups=2, dtype=torch.float16, options=False),
}
