"""How the Triton scan cuts its work, and that its launches are what is compiled ahead of time."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
from hypothesis import given
from hypothesis import strategies as st

from seqsuite.kernels.ahead_of_time.compilation import TARGETS, specialise
from seqsuite.kernels.selective_scan import dispatch, triton_launch
from seqsuite.kernels.selective_scan.inputs import Inputs
from seqsuite.kernels.selective_scan.triton_launch import Blocks, Runtime, checkpoint_shape
from seqsuite.kernels.selective_scan.triton_report import REFERENCE, Variant, launches

from .triton_driver import RecordingDriver

SM_90 = TARGETS["sm_90"]


@given(
    lengths=st.lists(st.integers(0, 700), min_size=1, max_size=6),
    length=st.integers(1, 4).map(lambda chunks: chunks * triton_launch.CHUNK),
)
def test_segments_hold_each_row_once(lengths: list[int], length: int) -> None:
    offsets = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    segments = triton_launch._cut(tuple(offsets), length, torch.device("cpu"))
    starts, rows, checkpoints = segments.table.T.tolist()
    firsts = segments.offsets.tolist()
    used = []
    for sequence, (first, last) in enumerate(pairwise(firsts)):
        position = offsets[sequence]
        assert last > first  # an empty sequence has a segment too, to pass its state on
        for segment in range(first, last):
            assert starts[segment] == position
            position += rows[segment]
            chunks = -(-rows[segment] // triton_launch.CHUNK)
            used += range(checkpoints[segment], checkpoints[segment] + chunks)
        assert position == offsets[sequence + 1]
    assert segments.cut == (len(segments) > len(lengths))
    assert len(set(used)) == len(used)
    variant = Variant(seqlen=offsets[-1], d_model=16, offsets=tuple(offsets))
    assert max(used, default=0) < checkpoint_shape(variant.inputs())[0]


@pytest.mark.parametrize(
    ("variant", "programs"),
    [
        (REFERENCE, 2048),  # cut until there are enough
        (Variant(batch=64, seqlen=4096), 1024),  # in one piece: in two they would take as long
        (Variant(seqlen=1), 16),
        (Variant(batch=2**16, seqlen=64, d_model=2**16), 2**26),  # more than grids have in y
    ],
)
def test_programs(variant: Variant, programs: int) -> None:
    assert {launch.programs for launch in launches(variant, SM_90) if launch.name == "output_kernel"} == {
        programs
    }


@pytest.mark.parametrize(
    ("variant", "warp_size", "channels"),
    [
        (REFERENCE, 32, 64),  # two a thread
        (REFERENCE, 64, 128),
        (replace(REFERENCE, d_state=64), 32, 16),  # fewer channels with more states
        (replace(REFERENCE, groups=64), 32, 16),  # narrow groups
        (replace(REFERENCE, d_model=40), 32, 64),
    ],
)
def test_blocks(variant: Variant, warp_size: int, channels: int) -> None:
    blocks = Blocks.of(variant.inputs(), warp_size)
    assert blocks.channels == channels
    assert blocks.count * channels >= variant.d_model


def test_packed_sequences_run_the_same_kernels() -> None:
    """Segments end where sequences do, so that no kernel knows of packing."""
    packed = replace(REFERENCE, offsets=(0, 5, 5, 300_000, 524_288))
    for alone, together in zip(launches(REFERENCE, SM_90), launches(packed, SM_90), strict=True):
        assert alone.kernel is together.kernel
        assert (
            specialise(alone.kernel, alone.arguments)[:2]
            == specialise(together.kernel, together.arguments)[:2]
        )


def test_launches_are_what_is_compiled_ahead_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Triton's own launcher, up to the driver: grids, and types, constants and hints."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton_launch, "BACKWARD_STEPS", 2)  # compiles faster
    driver = RecordingDriver()
    monkeypatch.setattr(triton.runtime.driver, "_active", driver)
    expected = []

    def launch(kernel: Any, programs: int, arguments: dict[str, Any]) -> None:
        expected.append((kernel.__name__, (programs, 1, 1), specialise(kernel, arguments)))
        triton_launch._launch(kernel, programs, arguments)

    variant = Variant(batch=1, seqlen=150, d_model=48, d_state=2, states=True)
    inputs = Inputs(
        *(torch.zeros_like(x, device="cpu") if isinstance(x, torch.Tensor) else x for x in variant.inputs())
    )
    runtime = Runtime(32, 132, launch)
    y, final_state, checkpoints = triton_launch.run_forward(inputs, save=True, runtime=runtime)
    triton_launch.run_backward(y, final_state, checkpoints, inputs, runtime=runtime)
    for (name, grid, source), (expected_name, expected_grid, special) in zip(
        driver.launched, expected, strict=True
    ):
        assert (name, grid) == (expected_name, expected_grid)
        types, constants, multiples = special
        assert source.signature == types
        assert {source.fn.arg_names[path[0]]: value for path, value in source.constants.items()} == constants
        hints = {
            source.fn.arg_names[path[0]]
            for path, hint in source.attrs.items()
            if ["tt.divisibility", 16] in hint
        }
        assert hints == set(multiples)


def test_a_gpu_gets_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert dispatch._choose("cuda", False, None) == "triton"
    assert dispatch._choose("cuda", True, None) == "reference"  # complex A
    assert dispatch._choose("cpu", False, None) != "triton"
    assert dispatch._choose("cpu", True, None) == dispatch._choose("cpu", False, None)
    with pytest.raises(ValueError, match=r"'triton' needs tensors on a GPU, but .* on cpu"):
        dispatch._choose("cpu", False, "triton")
    with pytest.raises(ValueError, match="'triton' needs a real A"):
        dispatch._choose("cuda", True, "triton")
