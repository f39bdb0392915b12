"""The Triton backends without a GPU: their kernels in the interpreter, and where they can run."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from seqsuite.kernels import backends, causal_conv1d, rms_norm, selective_scan

from . import conv_cases, norm_cases, scan_cases
from .conv_cases import conv_case
from .norm_cases import every_form, norm_case
from .scan_cases import assert_close, in_float64, scan_case

ROOT = Path(__file__).parents[2]
INTERPRETED = Path(__file__).parent / "interpreted"


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(path.name for path in INTERPRETED.glob("test_*.py")))
def test_kernels_in_the_interpreter(file: str, tmp_path: Path) -> None:
    """Run a file in ``interpreted``, in a process that has Triton's interpreter on from the start."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(INTERPRETED / file)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("operation", "call", "case"),
    [
        ("selective_scan", selective_scan, scan_case(seqlen=1)),
        ("causal_conv1d", causal_conv1d, conv_case(seqlen=1)),
        ("rms_norm", rms_norm, norm_case(2, 3)),
    ],
)
def test_needs_a_gpu(operation: str, call: Callable[..., Any], case: dict[str, Any]) -> None:
    status, *_ = backends()[operation]
    assert status.name == "triton"
    assert not status.available
    assert "no GPU" in status.reason
    with pytest.raises(ValueError, match="'triton', which cannot be used here: there is no GPU"):
        call(**case, backend="triton")


def test_without_triton_the_rest_runs() -> None:
    code = """
import sys
sys.modules["triton"] = None  # importing it raises ImportError
import torch
from seqsuite.kernels import backends, causal_conv1d, rms_norm, selective_scan
for operation in ("selective_scan", "causal_conv1d", "rms_norm"):
    status, *_ = backends()[operation]
    assert not status.available and "triton cannot be imported" in status.reason, status
x = torch.ones(1, 2, 3)
selective_scan(x, x, -torch.ones(3, 2), torch.ones(1, 2, 2), torch.ones(1, 2, 2))
causal_conv1d(x, torch.ones(3, 4))
rms_norm(x, torch.ones(3), 1e-5)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
@pytest.mark.parametrize("offsets", [None, [0, 700, 700, 5000]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("make_case", "results", "narrow"),
    [
        (partial(scan_case, d_state=16), scan_cases.results, ("u", "delta", "z")),
        (conv_case, conv_cases.results, ("x", "initial_state")),
    ],
    ids=["selective_scan", "causal_conv1d"],
)
def test_equals_float64_on_a_gpu(
    make_case: Callable[..., dict[str, Any]],
    results: Callable[[dict[str, Any], str], dict[str, torch.Tensor]],
    narrow: tuple[str, ...],
    dtype: torch.dtype,
    offsets: list[int] | None,
) -> None:
    case = make_case(batch=1, seqlen=5000, d_model=200, offsets=offsets, dtype=torch.float32)
    for name in narrow:
        case[name] = case[name].detach().to(dtype).requires_grad_()
    on_gpu = {
        name: t.detach().cuda().requires_grad_(t.requires_grad) if isinstance(t, torch.Tensor) else t
        for name, t in case.items()
    }
    actual = {name: t.cpu() for name, t in results(on_gpu, "triton").items()}
    expected = results(in_float64(case), "reference")
    tolerances = (2e-6, 1e-5) if dtype == torch.float32 else (1e-2, 1e-2)
    assert_close(actual, expected, *tolerances)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
@every_form
@pytest.mark.parametrize(
    ("width", "dtype"), [(64, torch.float32), (1000, torch.bfloat16), (4096, torch.float32)]
)
def test_norm_equals_float64_on_a_gpu(width: int, dtype: torch.dtype, form: str) -> None:
    case = norm_case(5000, width, form=form, dtype=torch.float32)
    for name in case.keys() - {"weight", "eps"}:
        case[name] = case[name].detach().to(dtype).requires_grad_()
    on_gpu = {
        name: t.detach().cuda().requires_grad_() if isinstance(t, torch.Tensor) else t
        for name, t in case.items()
    }
    actual = {name: t.cpu() for name, t in norm_cases.results(on_gpu, "triton").items()}
    tolerances = (2e-6, 1e-5) if dtype == torch.float32 else (1e-2, 1e-2)
    assert_close(actual, norm_cases.results(in_float64(case), "reference"), *tolerances)
