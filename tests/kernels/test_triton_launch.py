"""How the Triton kernels cut their work, and that their launches are what is compiled ahead of time."""

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
from seqsuite.kernels.ahead_of_time.report import launches
from seqsuite.kernels.ahead_of_time.variants import VARIANTS
from seqsuite.kernels.causal_conv1d import _choose as choose_conv
from seqsuite.kernels.causal_conv1d import triton_launch as conv_launch
from seqsuite.kernels.causal_conv1d import triton_report as conv_report
from seqsuite.kernels.gpu.launch import Runtime, launch
from seqsuite.kernels.gpu.segments import cut
from seqsuite.kernels.rms_norm import _choose as choose_norm
from seqsuite.kernels.rms_norm import triton_report as norm_report
from seqsuite.kernels.selective_scan import dispatch, triton_launch
from seqsuite.kernels.selective_scan import triton_report as scan_report
from seqsuite.kernels.selective_scan.triton_launch import Blocks, checkpoint_shape
from seqsuite.kernels.selective_scan.triton_report import REFERENCE, Variant

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
        (REFERENCE, 4096),  # cut until there are enough
        (Variant(batch=64, seqlen=4096), 1024),  # in one piece: so many side by side are enough
        (Variant(batch=16, seqlen=128), 256),  # in one piece: in two they would take as long
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


@given(
    lengths=st.lists(st.integers(0, 700), min_size=1, max_size=6),
    length=st.integers(1, 300),
)
def test_a_cut_knows_where_its_segments_are(lengths: list[int], length: int) -> None:
    offsets = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    pieces = cut(offsets, length)
    segments = zip(pieces.first, pieces.rows, pieces.sequence, pieces.position, pieces.remaining, strict=True)
    ends = dict.fromkeys(range(len(lengths)), 0)
    for first, rows, sequence, position, remaining in (map(int, segment) for segment in segments):
        assert position == ends[sequence]
        assert first == offsets[sequence] + position
        assert first + remaining == offsets[sequence + 1]
        assert rows == min(remaining, length)
        ends[sequence] += rows
    assert list(ends.values()) == lengths


@pytest.mark.parametrize(
    ("variant", "rows", "programs"),
    [
        (conv_report.Variant(), 512, 2**14),
        (conv_report.Variant(seqlen=100), 64, 32),
        (conv_report.Variant(batch=2**16, seqlen=2**12, d_model=2**11), 1024, 2**23),  # 2^39 numbers
    ],
)
def test_segments_of_a_convolution(variant: conv_report.Variant, rows: int, programs: int) -> None:
    for launched in launches(variant, SM_90):
        table = launched.arguments["segments"]
        assert launched.programs == programs == len(table) * -(-variant.d_model // 64)
        assert -(-variant.seqlen // rows) * variant.batch == len(table)


@pytest.mark.parametrize(
    ("variant", "tiles", "warps"),
    [
        (norm_report.Variant(), (1, 1), (1, 2)),  # 1024 numbers, 32 a thread or 16
        (norm_report.Variant(d_model=64), (16, 8), (1, 1)),
        (norm_report.Variant(d_model=2049), (1, 1), (4, 8)),
        (norm_report.Variant(d_model=512, dtype=torch.float64), (1, 1), (1, 2)),
        (norm_report.Variant(d_model=2**16), (1, 1), (32, 32)),
        (norm_report.Variant(d_model=64, rows=3), (1, 8), (1, 1)),  # the forward takes one row a program
    ],
)
def test_tiles_of_a_norm(
    variant: norm_report.Variant, tiles: tuple[int, int], warps: tuple[int, int]
) -> None:
    both = launches(variant, SM_90)
    assert tuple(each.arguments["TILE"] for each in both) == tiles
    assert tuple(each.warps for each in both) == warps
    for each in both:
        assert each.programs * each.arguments["ROWS"] >= variant.rows
        assert (each.programs - 1) * each.arguments["ROWS"] < variant.rows


@pytest.mark.parametrize("variant", [REFERENCE, conv_report.Variant()], ids=["scan", "convolution"])
def test_packed_sequences_run_the_same_kernels(variant: Any) -> None:
    """Segments end where sequences do, so that no kernel knows of packing."""
    packed = replace(variant, offsets=(0, 5, 5, 300_000, 524_288))
    for alone, together in zip(launches(variant, SM_90), launches(packed, SM_90), strict=True):
        assert alone.kernel is together.kernel
        assert (
            specialise(alone.kernel, alone.arguments)[:2]
            == specialise(together.kernel, together.arguments)[:2]
        )


SMALL = {
    "selective_scan": scan_report.Variant(batch=1, seqlen=150, d_model=48, d_state=2, states=True),
    "causal_conv1d": conv_report.Variant(batch=1, seqlen=150, d_model=48),
    "rms_norm": norm_report.Variant(rows=150, d_model=1100, form="gate"),  # of several warps
}


@pytest.mark.parametrize("operation", VARIANTS)
def test_launches_are_what_is_compiled_ahead_of_time(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through Triton's own launcher, up to the driver: grids, and types, constants and hints."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton_launch, "BACKWARD_STEPS", 2)  # compiles faster
    monkeypatch.setattr(conv_launch, "STEPS", 2)
    driver = RecordingDriver()
    monkeypatch.setattr(triton.runtime.driver, "_active", driver)
    expected = []

    def launch_both(kernel: Any, programs: int, arguments: dict[str, Any], warps: int) -> None:
        expected.append((kernel.__name__, (programs, 1, 1), warps, specialise(kernel, arguments)))
        launch(kernel, programs, arguments, warps)

    variant = SMALL[operation]
    given = variant.inputs()
    inputs = given._make(
        torch.zeros_like(x, device="cpu") if isinstance(x, torch.Tensor) else x for x in given
    )
    variant.run(lambda direction: Runtime(90, 32, 132, launch_both), inputs)
    assert len(driver.launched) >= 2
    for (*launched, source), (*wanted, special) in zip(driver.launched, expected, strict=True):
        assert launched == wanted
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
    assert choose_conv("cuda", None) == "triton"
    assert choose_conv("cpu", None) != "triton"
    with pytest.raises(ValueError, match=r"causal_conv1d: backend 'triton' needs tensors on a GPU"):
        choose_conv("cpu", "triton")
    assert choose_norm("cuda", False, None) == "triton"
    assert choose_norm("cuda", True, None) == "reference"  # few numbers
