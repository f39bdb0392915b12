"""How the Triton kernels cut their work, and that their launches are what is compiled ahead of time."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqsuite.bench import host
from seqsuite.kernels.ahead_of_time.compilation import TARGETS, specialise
from seqsuite.kernels.ahead_of_time.recording import recording, work_of
from seqsuite.kernels.ahead_of_time.report import launches
from seqsuite.kernels.ahead_of_time.variants import VARIANTS
from seqsuite.kernels.causal_conv1d import backend_for as choose_conv
from seqsuite.kernels.causal_conv1d import triton_launch as conv_launch
from seqsuite.kernels.causal_conv1d import triton_report as conv_report
from seqsuite.kernels.checks import check_devices
from seqsuite.kernels.gpu.launch import Runtime, launch
from seqsuite.kernels.gpu.segments import cut
from seqsuite.kernels.rms_norm import backend_for as choose_norm
from seqsuite.kernels.rms_norm import triton_report as norm_report
from seqsuite.kernels.selective_scan import dispatch, triton_launch
from seqsuite.kernels.selective_scan import triton_report as scan_report
from seqsuite.kernels.selective_scan.triton_launch import Blocks, checkpoint_shape
from seqsuite.kernels.selective_scan.triton_report import REFERENCE, Variant

SM_90 = TARGETS["sm_90"]


@given(
    lengths=st.lists(st.integers(0, 700), min_size=1, max_size=6),
    length=st.integers(1, 4).map(lambda chunks: chunks * triton_launch.CHUNK),
)
def test_segments_hold_each_row_once(lengths: list[int], length: int) -> None:
    offsets = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    segments = triton_launch.cut_segments(tuple(offsets), length, torch.device("cpu"))
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
    for launched in launches(variant, SM_90)[:2]:  # the third adds up what the segments left
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
    both = launches(variant, SM_90)[:2]  # the third adds up what the programs left
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


def on_cpu(variant: Any) -> Any:
    """Return a variant's inputs with memory."""
    given = variant.inputs()
    return given._make(torch.zeros_like(x, device="cpu") if isinstance(x, torch.Tensor) else x for x in given)


@pytest.mark.parametrize("operation", VARIANTS)
def test_launches_are_what_is_compiled_ahead_of_time(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through Triton's own launcher, up to the driver: grids, and types, constants and hints."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton_launch, "BACKWARD_STEPS", 2)  # compiles faster
    monkeypatch.setattr(conv_launch, "STEPS", 2)
    expected = []

    def launch_both(kernel: Any, programs: int, arguments: dict[str, Any], warps: int) -> Any:
        expected.append((kernel.__name__, (programs, 1, 1), warps, specialise(kernel, arguments)))
        return launch(kernel, programs, arguments, warps)

    variant = SMALL[operation]
    runtime = Runtime(90, 32, 132, launch_both)
    with recording() as driver:
        variant.run(lambda direction: runtime, on_cpu(variant))
        first = driver.launched.copy()
        assert len(first) == len(expected) >= 3
        # The second call goes past Triton's launcher, with the kernels and arguments kept from the first.
        variant.run(lambda direction: runtime, on_cpu(variant))
    assert len(driver.launched) == 2 * len(expected)
    for launched, again in zip(first, driver.launched[len(first) :], strict=True):
        assert launched.source is again.source
        assert launched.grid == again.grid
        for name, one, other in zip(
            launched.source.fn.arg_names, launched.arguments, again.arguments, strict=True
        ):
            if isinstance(one, torch.Tensor):
                assert isinstance(other, int), name
                assert other % 16 == one.data_ptr() % 16, name
            else:
                assert other == one, name
    for launched, (*wanted, special) in zip(first, expected, strict=True):
        assert [launched.name, launched.grid, launched.warps] == wanted
        source = launched.source
        types, constants, multiples = special
        assert source.signature == types
        assert {source.fn.arg_names[path[0]]: value for path, value in source.constants.items()} == constants
        hints = {
            source.fn.arg_names[path[0]]
            for path, hint in source.attrs.items()
            if ["tt.divisibility", 16] in hint
        }
        assert hints == set(multiples)


# Launches and allocations of a call: forward, and with the backward. A scan asks for its results (y and two
# states, gradients) and one workspace each way.
MOST_WORK = {
    "selective_scan, in one piece": ((1, 4), (3, 13)),
    "selective_scan, in segments": ((3, 4), (7, 13)),
    "causal_conv1d": ((1, 1), (3, 5)),
    "rms_norm with a residual": ((1, 2), (3, 5)),
}


def test_a_call_launches_and_allocates_no_more_than_it_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton_launch, "BACKWARD_STEPS", 2)  # compiles faster
    monkeypatch.setattr(conv_launch, "STEPS", 2)
    with recording() as driver:
        for name, forward, leaves in host.cases(torch.bfloat16):
            for (_, call), (launched, allocated) in zip(
                host.works(forward, leaves), MOST_WORK[name], strict=True
            ):
                work = work_of(call, driver)
                assert work.operators == [], name  # no casts, copies, sums or fills
                assert (work.launches, work.allocations) == (launched, allocated), (name, work)


def test_offsets_of_packed_sequences_may_stay_on_the_host() -> None:
    """On the host they are read without waiting for the GPU."""
    on_gpu, on_host = torch.empty(1, 5, 2, device="meta"), torch.tensor([0, 5])
    check_devices("operation", "x", on_gpu, {"cu_seqlens": on_host})
    with pytest.raises(ValueError, match="operation: weight is on cpu, but x is on meta"):
        check_devices("operation", "x", on_gpu, {"weight": on_host})


def test_a_gpu_gets_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert dispatch.backend_for("cuda", False, None) == "triton"
    assert dispatch.backend_for("cuda", True, None) == "reference"  # complex A
    assert dispatch.backend_for("cpu", False, None) != "triton"
    assert dispatch.backend_for("cpu", True, None) == dispatch.backend_for("cpu", False, None)
    with pytest.raises(ValueError, match=r"'triton' needs tensors on a GPU, but .* on cpu"):
        dispatch.backend_for("cpu", False, "triton")
    with pytest.raises(ValueError, match="'triton' needs a real A"):
        dispatch.backend_for("cuda", True, "triton")
    assert choose_conv("cuda", None) == "triton"
    assert choose_conv("cpu", None) != "triton"
    with pytest.raises(ValueError, match=r"causal_conv1d: backend 'triton' needs tensors on a GPU"):
        choose_conv("cpu", "triton")
    assert choose_norm("cuda", False, None) == "triton"
    assert choose_norm("cuda", True, None) == "reference"  # few numbers
