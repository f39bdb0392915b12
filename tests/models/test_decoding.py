"""Decoders against the model's own steps."""

import pytest
import torch
from torch import Tensor, nn

from seqsuite.kernels import backends
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.mamba_decoder import cpu as cpu_decoder
from seqsuite.models.backbone import BackboneState, LanguageModel
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.decoding import Decoder, _FusedDecoder, _StepDecoder, make_decoder
from seqsuite.models.generation import generate

VOCABULARY, BATCH = 11, 3
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def make_model(
    dtype: torch.dtype = torch.float64,
    d_model: int = 16,
    block: str = "mamba",
    mixer: str = "s6",
    d_state: int = 4,
    d_conv: int = 4,
    **options: object,
) -> LanguageModel:
    """Return a model with parameters that are all different, biases of the projections included."""
    torch.manual_seed(0)
    config = ModelConfig(
        name="test",
        d_model=d_model,
        block={"name": block} | ({"d_conv": d_conv} if block == "mamba" else {}),
        mixer={"name": mixer} | ({"d_state": d_state} if mixer == "s6" else {}),
        **options,
    )
    model = build_model(config, vocab_size=VOCABULARY, seqlen=64).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def tokens(length: int) -> Tensor:
    return torch.randint(VOCABULARY, (BATCH, length), generator=torch.Generator().manual_seed(length))


@torch.no_grad()
def by_steps(model: LanguageModel, inputs: Tensor, state: BackboneState) -> tuple[Tensor, BackboneState]:
    logits = []
    for token in inputs.unbind(1):
        result, state = model.step(token, state)
        logits.append(result)
    return torch.stack(logits, dim=1), state


def by_decoder(decoder: Decoder, inputs: Tensor) -> Tensor:
    return torch.stack([decoder.step(token) for token in inputs.unbind(1)], dim=1)


def assert_same_states(actual: BackboneState, expected: BackboneState, tolerance: float) -> None:
    assert actual.position == expected.position
    for a, e in zip(actual.blocks, expected.blocks, strict=True):
        assert a.keys() == e.keys()
        for key, value in a.items():
            torch.testing.assert_close(value, e[key], rtol=tolerance, atol=tolerance)


def assert_decodes(model: LanguageModel) -> None:
    """Check that the fused decoder gives the steps' logits and states, from a state in the middle."""
    tolerance = TOLERANCE[model.head.weight.dtype]
    _, state = by_steps(model, tokens(5), model.initial_state(BATCH))
    expected, after = by_steps(model, tokens(12), state)
    decoder = make_decoder(model, state)
    assert isinstance(decoder, _FusedDecoder)
    torch.testing.assert_close(by_decoder(decoder, tokens(12)), expected, rtol=tolerance, atol=tolerance)
    assert_same_states(decoder.state(), after, tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"d_model": 37, "d_state": 17},
        {"d_model": 5, "d_state": 1, "d_conv": 1},
        {"tie_embeddings": False},
    ],
)
def test_fused_decoder_equals_the_steps(dtype: torch.dtype, sizes: dict[str, int]) -> None:
    assert_decodes(make_model(dtype, **sizes))


def test_projections_with_biases() -> None:
    model = make_model()
    for block in model.blocks:
        for projection in (block.in_proj, block.out_proj):
            projection.bias = nn.Parameter(torch.randn(projection.out_features, dtype=torch.float64))
    assert_decodes(model)


def test_on_a_processor_without_wide_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    portable = Target(cpu="", features="", vector_bytes=16, vector_registers=16, has_scalef=False)
    monkeypatch.setattr(cpu_decoder, "host_target", lambda: portable)
    cpu_decoder.decoder_kernel.cache_clear()
    try:
        assert_decodes(make_model(torch.float32, d_model=18))
    finally:
        cpu_decoder.decoder_kernel.cache_clear()


def test_the_state_it_starts_from_stays_as_it_is() -> None:
    model = make_model()
    _, state = by_steps(model, tokens(3), model.initial_state(BATCH))
    before = [{key: value.clone() for key, value in block.items()} for block in state.blocks]
    decoder = make_decoder(model, state)
    by_decoder(decoder, tokens(4))
    between = decoder.state()
    copies = [{key: value.clone() for key, value in block.items()} for block in between.blocks]
    by_decoder(decoder, tokens(4))
    assert_same_states(state, BackboneState(3, tuple(before)), 0.0)
    assert_same_states(between, BackboneState(7, tuple(copies)), 0.0)


@pytest.mark.parametrize(
    "model",
    [
        make_model(block="transformer", mixer="attention"),
        make_model(mixer="s4d"),
        make_model(norm="layer"),
        make_model(positions="learned"),
        make_model(torch.bfloat16),
    ],
    ids=["transformer", "s4d", "layer norm", "positions", "bfloat16"],
)
def test_other_models_decode_by_their_steps(model: LanguageModel) -> None:
    state = model.initial_state(BATCH)
    decoder = make_decoder(model, state)
    assert isinstance(decoder, _StepDecoder)
    expected, after = by_steps(model, tokens(4), state)
    with torch.no_grad():
        torch.testing.assert_close(by_decoder(decoder, tokens(4)), expected)
    assert_same_states(decoder.state(), after, 0.0)


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, threads = make_model(), torch.get_num_threads()
    monkeypatch.setattr(cpu_decoder, "PRODUCTS_PER_THREAD", 1)
    try:
        runs = []
        for number in (1, 2):
            torch.set_num_threads(number)
            runs.append(by_decoder(make_decoder(model, model.initial_state(BATCH)), tokens(9)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*runs)


def test_a_large_batch_decodes_by_steps() -> None:
    model = make_model(torch.float32, d_model=64)
    assert isinstance(make_decoder(model, model.initial_state(2000)), _StepDecoder)


def test_generation_is_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model()
    fused = torch.stack(list(generate(model, tokens(4), 20, temperature=0)))
    monkeypatch.setenv("SEQSUITE_BACKEND", "reference")
    assert isinstance(make_decoder(model, model.initial_state(BATCH)), _StepDecoder)
    assert torch.equal(fused, torch.stack(list(generate(model, tokens(4), 20, temperature=0))))


def test_bad_tokens_are_named() -> None:
    model = make_model()
    decoder = make_decoder(model, model.initial_state(BATCH))
    with pytest.raises(IndexError, match=r"from 0 to 10, but are \[0, 11, 3\]"):
        decoder.step(torch.tensor([0, 11, 3]))
    with pytest.raises(IndexError, match="from 0 to 10"):
        decoder.step(torch.tensor([0, -1, 3]))
    with pytest.raises(ValueError, match=r"int64 of shape \(3,\), not int64 of shape \(2,\)"):
        decoder.step(torch.tensor([0, 1]))


def test_says_which_backends_are_available() -> None:
    assert [status.name for status in backends()["mamba_decoder"]] == ["cpu", "reference"]
