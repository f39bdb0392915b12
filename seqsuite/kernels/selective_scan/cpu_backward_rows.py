"""The backward kernel's work on rows: what a chunk's states need of the inputs, and their gradients."""

import math
from dataclasses import dataclass

from seqsuite.kernels.llvm.builder import Index, Variable
from seqsuite.kernels.llvm.functions import exp_minus_abs, fma, sigmoid
from seqsuite.kernels.llvm.tasks import fill_zeros
from seqsuite.kernels.selective_scan.cpu_backward_work import Work
from seqsuite.kernels.selective_scan.cpu_forward import step_size
from seqsuite.kernels.selective_scan.cpu_layout import load_input


@dataclass(frozen=True)
class BackwardRows:
    """The work of one task on (B, L, D) tensors, and on the gradients of D and the bias."""

    work: Work

    def start_sums(self) -> None:
        """Start the gradients of D and the bias from zero."""
        for total in (self.work.sum_D, self.work.sum_bias):
            fill_zeros(total, self.work.task.blocks)

    def read(self, row: Index, steps: Index) -> None:
        """Recompute Δ and Δu for a chunk, and from dy what y's gradient and z's take from it."""
        work, options = self.work, self.work.options
        kernel, task = work.kernel, work.task
        with kernel.loop(0, steps) as t, kernel.loop(0, task.blocks) as block:
            channel, mask, here = task.channel(block), task.mask(block), work.position(block, t)
            u = load_input(task, options, "u", row + t, channel, mask)
            raw = load_input(task, options, "delta", row + t, channel, mask)
            bias = kernel.array("delta_bias").load(channel, mask) if options.has_bias else None
            delta, slope = step_size(options, raw, bias)
            if slope is not None:
                work.slope.store(slope, here)
            g = work.output("dy", options.u_dtype, row + t).load(channel, mask)
            if work.dz_by_y is not None:
                z = load_input(task, options, "z", row + t, channel, mask)
                gate = sigmoid(z, exp_minus_abs(z))
                silu = z * gate
                work.dz_by_y.store(g * fma(silu, 1.0 - gate, gate), here)
                if work.silu is not None:
                    work.silu.store(silu, here)
                g = g * silu
            work.delta.store(delta, here)
            work.delta_u.store(delta * u, here)
            work.g.store(g, here)

    def write(self, row: Index, steps: Index) -> None:
        """Write du, ddelta and dz of a chunk, and add to the gradients of D and the bias."""
        work, kernel, task = self.work, self.work.kernel, self.work.task
        with kernel.loop(0, task.blocks) as block:
            dD, dbias = (Variable(kernel, kernel.vector(0.0)) for _ in range(2))
            with kernel.loop(0, steps) as t:
                self._write_position(block, t, row, dD, dbias)
            for total, part in ((work.sum_D, dD), (work.sum_bias, dbias)):
                total.store(total.load(block * kernel.lanes) + part.value, block * kernel.lanes)

    def _write_position(self, block: Index, t: Index, row: Index, dD: Variable, dbias: Variable) -> None:
        work, options = self.work, self.work.options
        kernel, task = work.kernel, work.task
        channel, mask, here = task.channel(block), task.mask(block), work.position(block, t)
        skip = kernel.array("D").load(channel, mask) if options.has_skip else None
        u = load_input(task, options, "u", row + t, channel, mask)
        g, s = work.g.load(here), work.s.load(here)
        du = work.delta.load(here) * s
        if skip is not None:
            du = fma(g, skip, du)
            dD.value = fma(g, u, dD.value)
        ddelta = fma(u, s, work.w.load(here) * math.log(2))
        if options.delta_softplus:
            ddelta = ddelta * work.slope.load(here)
        dbias.value = dbias.value + ddelta
        work.output("du", options.u_dtype, row + t).store(du, channel, mask)
        work.output("ddelta", options.delta_dtype, row + t).store(ddelta, channel, mask)
        if work.y is not None and work.dz_by_y is not None:
            y = work.y.load(here)
            if skip is not None:
                y = fma(skip, u, y)
            dz = y * work.dz_by_y.load(here)
            work.output("dz", options.inputs["z"], row + t).store(dz, channel, mask)
            if work.silu is not None:
                y = y * work.silu.load(here)
                work.output("y", options.u_dtype, row + t).store(y, channel, mask)

    def store_sums(self) -> None:
        """Write this sequence's part of dD and ddelta_bias (S, D)."""
        work, kernel, task = self.work, self.work.kernel, self.work.task
        with kernel.loop(0, task.blocks) as block:
            channel = task.sequence * kernel.parameter("d_model") + task.channel(block)
            for name, total, present in (
                ("dD", work.sum_D, work.options.has_skip),
                ("ddelta_bias", work.sum_bias, work.options.has_bias),
            ):
                if present:
                    output = kernel.array(name)
                    output.store(total.load(block * kernel.lanes), channel, task.mask(block))
