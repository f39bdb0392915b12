"""Faults planted in the kernels, each of which the checks of this folder must catch."""

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from triton.runtime.errors import InterpreterError

from seqsuite import kernels
from seqsuite.kernels.causal_conv1d import operators as conv_operators
from seqsuite.kernels.rms_norm import operators as norm_operators
from seqsuite.kernels.selective_scan import operators as scan_operators

from .. import conv_cases, norm_cases, scan_cases
from . import test_causal_conv1d, test_rms_norm, test_selective_scan

Fault = tuple[str, str, str]
"""The module, its line and what becomes of it."""

SHARED = ("gpu.triton_device", "gpu.segments", "gpu.triton_sums")

SCAN_FAULTS = {
    "reset forgotten": (
        "selective_scan.triton_forward",
        "h = tl.load(own, mask=exist, other=0.0)",
        "h = tl.zeros((STATES, CHANNELS), dtype)",
    ),
    "A read before it is there": (
        "selective_scan.triton_device",
        "tl.debug_barrier()  # other threads read what was stored",
        "pass",
    ),
    "A of another block": ("selective_scan.triton_backward", "load(own_A, local", "load(carried, local"),
    "sums of skip and bias": ("gpu.triton_sums", "(row == ROWS + 1)", "(row >= ROWS)"),
    "parts beyond the last": ("gpu.triton_sums", "(start + index < count)", "(start + index < count - 1)"),
    "blocks beyond the last": ("selective_scan.triton_sums", "exist & (block + k < blocks)", "exist"),
    "sum of another group": ("selective_scan.triton_sums", "+ group * N + n", "+ n"),
    "decay over a segment": (
        "selective_scan.triton_forward",
        "        total += dt\n",
        "        total = dt\n",
    ),
    "adjoint without decay": (
        "selective_scan.triton_backward",
        "carry = tl.exp2(dt[None, :] * log2_decay) * (",
        "carry = (",
    ),
    "segments in the wrong order": (
        "selective_scan.triton_device",
        "last - 1 - i - k if REVERSE",
        "first + i + k if REVERSE",
    ),
    "base of the exponential": ("gpu.triton_device", "(1.4426950408889634)", "(1.4426960408889634)"),
    "skip not in du": ("selective_scan.triton_backward", "du_k += skip * gs[k]", "du_k += 0.0 * gs[k]"),
    "slope of the gate": ("selective_scan.triton_backward", "(1.0 + z_k * (1.0 - s))", "(1.0 + z_k * s)"),
    "more segments than there are": (
        "selective_scan.triton_device",
        "(i + k < last - first)",
        "(i + k <= last - first)",
    ),
    "tail of a chunk": (
        "selective_scan.triton_forward",
        "tl.minimum(length - chunk * CHUNK, CHUNK)",
        "tl.minimum((length - chunk * CHUNK) // 4 * 4, CHUNK)",
    ),
    "rows in the wrong order": (
        "selective_scan.triton_forward",
        "now, soon = soon, l",
        "now, soon = later, l",
    ),
    "last row": ("selective_scan.triton_forward", "row + 2 < end", "row + 3 < end"),
    "second state": ("selective_scan.triton_backward", "store_row(carried, n + i", "store_row(carried, n"),
    "one row too many": (
        "selective_scan.triton_forward",
        "range(length % STEPS)",
        "range(length % STEPS + 1)",
    ),
    "state before a tile": (
        "selective_scan.triton_backward",
        "tile * (N * CHANNELS), CH",
        "(tile // 2) * (N * CHANNELS), CH",
    ),
    "sum over channels": ("selective_scan.triton_device", "tl.where(second, b, a)", "tl.where(second, a, b)"),
    "channels beyond the group": (
        "selective_scan.triton_device",
        "else within < WIDTH",
        "else within <= WIDTH",
    ),
    "group of B": ("selective_scan.triton_device", "return tensor + group * N", "return tensor + 0 * group"),
    "barrier": (
        "selective_scan.triton_backward",
        "tl.debug_barrier()  # other threads read what is carried",
        "pass",
    ),
    "part of another group": (
        "selective_scan.triton_backward",
        "* GROUPS + group, tl.int64)",
        "* GROUPS, tl.int64)",
    ),
    "slot of a checkpoint": (
        "selective_scan.triton_launch",
        "// CHUNK + segments.sequence + s",
        "// CHUNK + s",
    ),
}

CONV_FAULTS = {
    "tap over a border": ("causal_conv1d.triton_device", "(position + i >=", "(first + i >="),
    "history of the first sequence": ("causal_conv1d.triton_device", "sequence * (TAPS - 1) + p", "p"),
    "rows before a tile": ("causal_conv1d.triton_device", "window[STEPS + i]", "window[i]"),
    "channels that do not exist": ("causal_conv1d.triton_device", "channel < D_MODEL", "channel <= D_MODEL"),
    "rows after a segment": ("causal_conv1d.triton_forward", " & (length - start > k)", ""),
    "rows of the next segment": (
        "causal_conv1d.triton_backward",
        "length + TAPS - 1, STEPS",
        "length, STEPS",
    ),
    "rows of the next sequence": (
        "causal_conv1d.triton_backward",
        "tl.minimum(remaining, length + TAPS - 1).to(tl.int32)",
        "length + TAPS - 1",
    ),
    "sums over rows of the next segment": (
        "causal_conv1d.triton_backward",
        "tl.where(t < count, g[t], 0.0)",
        "g[t]",
    ),
    "part of another segment": (
        "causal_conv1d.triton_backward",
        "parts + index * (",
        "parts + 0 * index * (",
    ),
    "sum of another tap": ("gpu.triton_sums", "column * ROWS + row", "column * ROWS"),
    "dx of the next segment": ("causal_conv1d.triton_backward", "(here < length)", "(here < remaining)"),
    "history of a later segment": ("causal_conv1d.triton_backward", "(position == 0) &", "(position >= 0) &"),
    "filters the wrong way round": ("causal_conv1d.triton_backward", "taps[TAPS - 1 - k]", "taps[k]"),
    "slope of the activation": ("causal_conv1d.triton_backward", "(1.0 + p * (1.0 - s))", "(1.0 + p * s)"),
    "cut": ("gpu.segments", "remaining.clamp_max(length)", "remaining.clamp_max(length - 1)"),
}

NORM_FAULTS = {
    "columns that do not exist": ("rms_norm.triton_device", "column < WIDTH", "column <= WIDTH"),
    "rows of the next program": ("rms_norm.triton_device", "(within < ROWS) & ", ""),
    "rows that do not exist": ("rms_norm.triton_device", " & (row < rows)", ""),
    "mean over the padded row": (
        "rms_norm.triton_forward",
        "normalised(v, exist, WIDTH",
        "normalised(v, exist, BLOCK",
    ),
    "scale without eps": ("rms_norm.triton_device", "tl.sqrt(mean + EPS)", "tl.sqrt(mean)"),
    "scale of a row that does not exist": (
        "rms_norm.triton_device",
        "tl.where(exist, 1.0 / tl.sqrt(mean + EPS), 0.0)",
        "1.0 / tl.sqrt(mean + EPS) + tl.where(exist, 0.0, float('nan'))",
    ),
    "slope of the gate": ("rms_norm.triton_device", "(1.0 + z * (1.0 - s))", "(1.0 + z * s)"),
    "direction of the row": ("rms_norm.triton_backward", "(g - v * (", "(g + v * ("),
    "last tile only": ("rms_norm.triton_backward", "sums += dscaled * v", "sums = dscaled * v"),
    "part of another program": (
        "rms_norm.triton_backward",
        "part = tl.program_id(0)",
        "part = 0 * tl.program_id(0)",
    ),
    "opening of the gate": ("rms_norm.triton_backward", "dv *= opening", "dv *= 1.0"),
}


@dataclass(frozen=True)
class Operation:
    """An operation whose kernels get faults.

    Attributes:
        modules: what the kernels are made of, each after what it imports; ``run_forward`` is in the last.
        operators: the module that looks up what runs a backend.
        faults: by name.
        use_tiling: makes tiles small in a module that launches kernels.
        case: arguments of the operation.
        results: outputs and gradients by a backend.
    """

    modules: tuple[str, ...]
    operators: Any
    faults: dict[str, Fault]
    use_tiling: Callable[[pytest.MonkeyPatch, Any], None]
    case: dict[str, Any]
    results: Callable[[dict[str, Any], str], dict[str, torch.Tensor]]


def modules_of(operation: str) -> tuple[str, ...]:
    sums = ("sums",) if operation == "selective_scan" else ()
    own = (f"{operation}.triton_{part}" for part in ("device", "forward", "backward", *sums, "launch"))
    return (*SHARED, *own)


OPERATIONS = {
    "selective_scan": Operation(
        modules_of("selective_scan"),
        scan_operators,
        SCAN_FAULTS,
        lambda patch, launch: test_selective_scan.use_tiling(
            patch, cut=True, chunk=4, steps=2, launch=launch
        ),
        scan_cases.scan_case(batch=1, seqlen=13, d_model=34, d_state=2, groups=2, offsets=[0, 3, 13]),
        scan_cases.results,
    ),
    "causal_conv1d": Operation(
        modules_of("causal_conv1d"),
        conv_operators,
        CONV_FAULTS,
        lambda patch, launch: test_causal_conv1d.use_tiling(patch, rows=4, steps=4, launch=launch),
        conv_cases.conv_case(batch=1, seqlen=13, d_model=20, offsets=[0, 3, 13]),
        conv_cases.results,
    ),
    "rms_norm": Operation(
        modules_of("rms_norm"),
        norm_operators,
        NORM_FAULTS,
        lambda patch, launch: test_rms_norm.use_tiling(patch, rows=3, numbers=4, launch=launch),
        norm_cases.norm_case(7, 20, form="gate", eps=1e-2),
        norm_cases.results,
    ),
}


@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for name, op in OPERATIONS.items() for fault in (None, *op.faults)]
)
def test_is_caught(name: str, fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = OPERATIONS[name]
    launch = load_copy(tmp_path, operation, fault and operation.faults[fault], monkeypatch)
    operation.use_tiling(monkeypatch, launch)
    monkeypatch.setattr(operation.operators, "kernels_of", lambda backend: launch)
    case, results = operation.case, operation.results
    expected = results(case, "reference")
    if fault is None:
        scan_cases.assert_close(results(case, "triton"), expected, forward=1e-12, gradients=1e-12)
        return
    with pytest.raises(
        (AssertionError, InterpreterError), match=r"relative error|KernelFaultError|lanes|programs"
    ):
        scan_cases.assert_close(results(case, "triton"), expected, forward=1e-9, gradients=1e-9)


def load_copy(
    folder: Path, operation: Operation, fault: Fault | None, monkeypatch: pytest.MonkeyPatch
) -> object:
    """Load a copy of the kernels' modules with one fault in it, instead of them; return the last."""
    package = Path(kernels.__file__).parent
    for name in operation.modules:
        text = package.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        if fault is not None and fault[0] == name:
            assert fault[1] in text, "the line to spoil has changed: change it here too"
            text = text.replace(fault[1], fault[2])
        path = folder / f"{name}.py"
        path.write_text(text, encoding="utf-8")
        full_name = f"{kernels.__name__}.{name}"
        spec = importlib.util.spec_from_file_location(full_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, full_name, module)
        spec.loader.exec_module(module)
    return sys.modules[full_name]
