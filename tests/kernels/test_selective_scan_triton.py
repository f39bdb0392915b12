"""The Triton scan without a GPU: its kernels in the interpreter, and where it can run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seqsuite.kernels import backends, selective_scan

from .scan_cases import assert_close, in_float64, results, scan_case

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_kernels_in_the_interpreter(tmp_path: Path) -> None:
    """Run the tests in ``interpreted``, in a process that has Triton's interpreter on from the start."""
    environment = os.environ | {"TRITON_INTERPRET": "1", "TRITON_CACHE_DIR": str(tmp_path)}
    folder = Path(__file__).parent / "interpreted"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_needs_a_gpu() -> None:
    status, *_ = backends()["selective_scan"]
    assert not status.available
    assert "no GPU" in status.reason
    with pytest.raises(ValueError, match="'triton', which cannot be used here: there is no GPU"):
        selective_scan(**scan_case(seqlen=1), backend="triton")


def test_without_triton_the_rest_runs() -> None:
    code = """
import sys
sys.modules["triton"] = None  # importing it raises ImportError
import torch
from seqsuite.kernels import backends, selective_scan
status, *_ = backends()["selective_scan"]
assert not status.available and "triton cannot be imported" in status.reason, status
x = torch.ones(1, 2, 3)
selective_scan(x, x, -torch.ones(3, 2), torch.ones(1, 2, 2), torch.ones(1, 2, 2))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")
@pytest.mark.parametrize("offsets", [None, [0, 700, 700, 5000]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_float64_on_a_gpu(dtype: torch.dtype, offsets: list[int] | None) -> None:
    case = scan_case(batch=1, seqlen=5000, d_model=200, d_state=16, offsets=offsets, dtype=torch.float32)
    for name in ("u", "delta", "z"):
        case[name] = case[name].detach().to(dtype).requires_grad_()
    on_gpu = {
        name: t.detach().cuda().requires_grad_(t.requires_grad) if isinstance(t, torch.Tensor) else t
        for name, t in case.items()
    }
    actual = {name: t.cpu() for name, t in results(on_gpu, "triton").items()}
    expected = results(in_float64(case), "cpu")
    tolerances = (2e-6, 1e-5) if dtype == torch.float32 else (1e-2, 1e-2)
    assert_close(actual, expected, *tolerances)
