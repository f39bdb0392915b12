"""Every peer computes what it says it does, and a wrong one would be found."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from seqsuite.bench import peers as peers_module
from seqsuite.bench.conv_peers import CONV_PEERS
from seqsuite.bench.model_peers import MODEL_PEERS, check_model
from seqsuite.bench.operations import Bench
from seqsuite.bench.peers import BACKWARD, BOTH, FORWARD, OURS, Peer, Shape, check, make_inputs, runner
from seqsuite.bench.scan_compiled import make_chunk_loop, make_prefix_scan
from seqsuite.bench.scan_peers import SCAN_PEERS
from seqsuite.bench.settings import Settings
from seqsuite.bench.ssd_peers import LONG_CHUNK, SSD_PEERS, make_matrix_form

PEERS = [*SCAN_PEERS, *CONV_PEERS, *SSD_PEERS]
by_peer = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: f"{peer.operation.name}: {peer.name}")


def skip_unless_it_can_run(peer) -> None:
    reason = peer.unavailable_because()
    if reason is not None:
        pytest.skip(reason)


@by_peer
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # Dynamo's own, which it means to hide
def test_operators_are_correct_in_output_and_every_gradient(peer: Peer) -> None:
    skip_unless_it_can_run(peer)
    if peer.compiled:  # the same formula without a compiler; the compiled form has a slow test of its own
        peer = replace(peer, make=lambda: UNCOMPILED[peer.name])
    found = check(peer, peer.make())
    assert found.forward < 1e-6
    assert found.gradients < 1e-5


UNCOMPILED = {
    "compiled-chunks": make_chunk_loop(backend="eager"),
    "compiled-prefix-scan": make_prefix_scan(backend="eager"),
    "compiled-matrix-form": make_matrix_form(backend="eager"),
    "compiled-long-chunks": make_matrix_form(LONG_CHUNK, backend="eager"),
}


@pytest.mark.slow
@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.compiled], ids=lambda peer: peer.name)
@pytest.mark.filterwarnings("ignore")  # PyTorch's own while it compiles
def test_compiled_operators_are_correct_too(peer: Peer) -> None:
    skip_unless_it_can_run(peer)
    small = replace(peer.operation, check_shape=Shape(1, 16, 64, 2))
    found = check(replace(peer, operation=small), peer.make())
    assert found.forward < 1e-6
    assert found.gradients < 1e-5


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_compiled_operators_are_compiled_for_every_shape_and_never_silently_left_uncompiled() -> None:
    counter = CompileCounter()
    function = make_chunk_loop(backend=counter)
    batches = range(1, 13)  # more than PyTorch's own limit
    for batch in batches:
        for _ in range(2):
            runner(function, make_inputs(PEERS[0], Shape(batch, 2, 2, 2), grad=False), FORWARD)()
    assert counter.frame_count == len(batches)


@pytest.mark.parametrize("peer", MODEL_PEERS, ids=lambda peer: peer.name)
def test_models_are_correct_whole_in_steps_and_in_gradients(peer) -> None:
    skip_unless_it_can_run(peer)
    model = peer.build(16)
    found = check_model(model, "cpu")
    if peer.name == "transformer++":
        assert found is None
    else:
        assert found is not None
        assert found.forward < 1e-5
        assert found.gradients < 1e-4
        assert model.parameters == model.ours.num_parameters()


def test_a_wrong_peer_is_found_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = CONV_PEERS[0]
    function = ours.make()

    def wrong_in_the_output(x, weight, bias):
        return function(x, weight, bias) * 1.001

    def wrong_in_a_gradient(x, weight, bias):
        return function(x, weight, bias + 1e-3 * (weight.sum(1) - weight.sum(1).detach()))

    def not_a_number(x, weight, bias):
        return function(x, weight, bias) * float("nan")

    for wrong in (wrong_in_the_output, wrong_in_a_gradient, not_a_number):
        with pytest.raises(ValueError, match="differs from the float64 reference"):
            check(ours, wrong)

    broken = replace(ours, name="broken", make=lambda: wrong_in_the_output)
    monkeypatch.setattr("seqsuite.bench.conv_peers.CONV_PEERS", [ours, broken])
    bench = Bench("conv", Settings("a test", quick=True), lambda text: None)
    section = bench.check_peers()
    assert [row["found"][:9] for row in section.rows] == ["correct", "not timed"]
    assert list(bench.ready) == [OURS]


def test_a_wrong_model_is_found() -> None:
    model = MODEL_PEERS[0].build(16)
    with torch.no_grad():
        model.module.blocks[1].mixer.D[3] += 0.01
    with pytest.raises(ValueError, match="differs from ours"):
        check_model(model, "cpu")


def test_runs_do_what_they_say() -> None:
    peer = CONV_PEERS[0]
    shape = Shape(2, 8, 4, 4)
    inputs = make_inputs(peer, shape, grad=True)
    y = runner(peer.make(), inputs, FORWARD)()
    assert isinstance(y, torch.Tensor)
    assert not y.requires_grad
    for work in (BACKWARD, BOTH):
        run = runner(peer.make(), inputs, work)
        for gradients in (run(), run()):
            assert isinstance(gradients, tuple)
            assert [g.shape for g in gradients] == [x.shape for x in inputs.values()]


def test_channels_first_peers_get_contiguous_tensors_of_the_same_numbers() -> None:
    ours, theirs = CONV_PEERS[:2]
    shape = Shape(2, 8, 4, 4)
    a, b = make_inputs(ours, shape, grad=False), make_inputs(theirs, shape, grad=False)
    assert torch.equal(a["x"].transpose(1, 2), b["x"])
    assert b["x"].is_contiguous()
    assert torch.equal(a["weight"], b["weight"])


def test_bfloat16_is_for_sequences_and_parameters_stay_float32() -> None:
    peer = SCAN_PEERS[0]
    inputs = make_inputs(peer, Shape(1, 8, 16, 2), dtype=torch.bfloat16, grad=False)
    assert {name for name, value in inputs.items() if value.dtype == torch.float32} == {
        "A",
        "D",
        "delta_bias",
    }
    assert check(peer, peer.make(), dtype="bfloat16").forward > 1e-4


def test_without_a_compiler_compiled_peers_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nonexistent/compiler")
    from torch._inductor import config, cpp_builder

    cpp_builder.cpp_compiler_search.cache_clear()
    try:
        # Its own way: an attribute of this module that is set and set back is not what it was.
        with config.patch({"cpp.cxx": ("/nonexistent/compiler",)}):
            assert "C++ compiler" in str(peers_module.why_no_compiler())
    finally:
        cpp_builder.cpp_compiler_search.cache_clear()
