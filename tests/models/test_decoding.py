"""Decoders against the model's own steps."""

import pytest
import torch
from torch import Tensor

from seqsuite.kernels import backends
from seqsuite.kernels.llvm.target import Target
from seqsuite.kernels.mamba_decoder import cpu as cpu_decoder
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.decoding import Decoder, FusedDecoder, StepDecoder, make_decoder
from seqsuite.models.generation import generate
from seqsuite.models.sequence_model import BackboneState, LanguageModel

VOCABULARY, BATCH = 11, 3
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


Settings = dict[str, object]


def layer(block: str, mixer: str, mixer_options: Settings | None = None, **block_options: object) -> Settings:
    """Return the settings of a layer."""
    return {
        "block": {"name": block, **block_options},
        "mixer": {"name": mixer, **(mixer_options or {})},
    }


def mamba(d_state: int = 4, **block: object) -> Settings:
    """Return the settings of a Mamba layer, of a small state if nothing else is said."""
    return layer("mamba", "s6", {"d_state": d_state}, **block)


def mamba2(d_state: int = 4, head_dim: int = 16, n_groups: int = 1, **block: object) -> Settings:
    """Return the settings of a Mamba-2 layer likewise."""
    mixer = {"d_state": d_state, "head_dim": head_dim, "n_groups": n_groups}
    return layer("mamba2", "ssd", mixer, **block)


ATTENTION = layer("transformer", "attention")

both_kinds = pytest.mark.parametrize("kind", [mamba(), mamba2()], ids=["mamba", "mamba2"])


def make_model(
    layer: Settings, dtype: torch.dtype = torch.float64, d_model: int = 16, **options: object
) -> LanguageModel:
    """Return a model with parameters that are all different."""
    torch.manual_seed(0)
    config = ModelConfig(name="test", d_model=d_model, **layer, **options)
    model = build_model(config, vocab_size=VOCABULARY, seqlen=64).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def hybrid(first: Settings, second: Settings) -> LanguageModel:
    """Return a model of two kinds of layers."""
    backbone = {"name": "isotropic", "pattern": ["main", "second"]}
    return make_model(first, layers={"second": second}, backbone=backbone)


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
    assert isinstance(decoder, FusedDecoder)
    torch.testing.assert_close(by_decoder(decoder, tokens(12)), expected, rtol=tolerance, atol=tolerance)
    assert_same_states(decoder.state(), after, tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("d_model", "layer"),
    [
        (16, mamba()),
        (37, mamba(d_state=17)),
        (5, mamba(d_state=1, d_conv=1)),
        (16, mamba(bias=True, conv_bias=False)),
        (16, mamba2()),
        (32, mamba2(d_state=64, n_groups=2, norm_groups=2)),
        (24, mamba2(d_state=16, head_dim=6, n_groups=4, norm_groups=3)),
        (37, mamba2(d_state=17, head_dim=1, n_groups=37, norm_groups=37, d_conv=3, bias=True)),
        (35, mamba2(d_state=40, head_dim=35, n_groups=2, norm_groups=5, conv_bias=False)),
        (5, mamba2(d_state=1, head_dim=10, d_conv=1, bias=True, conv_bias=False)),
        (7, mamba2(d_state=3, head_dim=3, expand=3, norm_eps=1e-2, norm_groups=7)),
    ],
    ids=str,
)
def test_fused_decoder_equals_the_steps(dtype: torch.dtype, d_model: int, layer: Settings) -> None:
    assert_decodes(make_model(layer, dtype, d_model))


@both_kinds
def test_a_head_of_its_own(kind: Settings) -> None:
    assert_decodes(make_model(kind, tie_embeddings=False))


@both_kinds
def test_on_a_processor_without_wide_vectors(kind: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    portable = Target(cpu="", features="", vector_bytes=16, vector_registers=16, has_avx512=False)
    monkeypatch.setattr(cpu_decoder, "host_target", lambda: portable)
    cpu_decoder.decoder_kernel.cache_clear()
    try:
        assert_decodes(make_model(kind, torch.float32, d_model=24))
    finally:
        cpu_decoder.decoder_kernel.cache_clear()


@both_kinds
def test_the_state_it_starts_from_stays_as_it_is(kind: Settings) -> None:
    model = make_model(kind)
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
        pytest.param(make_model(ATTENTION), id="transformer"),
        pytest.param(make_model(layer("mamba", "s4d")), id="s4d"),
        pytest.param(make_model(layer("mamba2", "s6")), id="s6 in mamba2"),
        pytest.param(make_model(layer("mamba", "ssd", {"head_dim": 16})), id="ssd in mamba"),
        pytest.param(make_model(mamba(), norm="layer"), id="layer norm"),
        pytest.param(make_model(mamba2(), norm="layer"), id="layer norm, mamba2"),
        pytest.param(make_model(mamba(), positions="learned"), id="positions"),
        pytest.param(make_model(mamba2(), positions="learned"), id="positions, mamba2"),
        pytest.param(make_model(mamba(), torch.bfloat16), id="bfloat16"),
        pytest.param(make_model(mamba2(), torch.bfloat16), id="bfloat16, mamba2"),
        pytest.param(hybrid(mamba2(), ATTENTION), id="mamba2 and attention"),
        pytest.param(hybrid(mamba2(), mamba()), id="mamba2 and mamba"),
        pytest.param(hybrid(mamba2(), mamba2(expand=4)), id="two sizes of mamba2"),
    ],
)
def test_other_models_decode_by_their_steps(model: LanguageModel) -> None:
    state = model.initial_state(BATCH)
    decoder = make_decoder(model, state)
    assert isinstance(decoder, StepDecoder)
    expected, after = by_steps(model, tokens(4), state)
    with torch.no_grad():
        torch.testing.assert_close(by_decoder(decoder, tokens(4)), expected)
    assert_same_states(decoder.state(), after, 0.0)


@both_kinds
def test_the_number_of_threads_changes_no_bit(kind: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    model, threads = make_model(kind), torch.get_num_threads()
    monkeypatch.setattr(cpu_decoder, "PRODUCTS_PER_THREAD", 1)
    try:
        runs = []
        for number in (1, 2):
            torch.set_num_threads(number)
            runs.append(by_decoder(make_decoder(model, model.initial_state(BATCH)), tokens(9)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*runs)


@both_kinds
def test_a_large_batch_decodes_by_steps(kind: Settings) -> None:
    model = make_model(kind, torch.float32, d_model=64)
    assert isinstance(make_decoder(model, model.initial_state(2000)), StepDecoder)


@both_kinds
def test_steps_go_on_from_the_state_that_it_hands_back(kind: Settings) -> None:
    model = make_model(kind)
    expected, _ = by_steps(model, tokens(9), model.initial_state(BATCH))
    decoder = make_decoder(model, model.initial_state(BATCH))
    by_decoder(decoder, tokens(9)[:, :4])
    actual, _ = by_steps(model, tokens(9)[:, 4:], decoder.state())
    torch.testing.assert_close(actual, expected[:, 4:], rtol=1e-12, atol=1e-12)


@both_kinds
def test_generation_is_the_same_either_way(kind: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model(kind, tie_embeddings=False)
    for block in model.blocks.layers():
        block.out_proj.weight.data *= 10  # so that it does not repeat one token for ever
    prompts = [tokens(length)[0] for length in (4, 1, 7)]

    def generated() -> Tensor:
        return torch.stack(list(generate(model, prompts, 20, temperature=0)))

    assert isinstance(make_decoder(model, model.initial_state(BATCH)), FusedDecoder)
    fused = generated()
    assert len(fused.unique()) > 5
    monkeypatch.setenv("SEQSUITE_BACKEND", "reference")
    assert isinstance(make_decoder(model, model.initial_state(BATCH)), StepDecoder)
    assert torch.equal(fused, generated())


def test_bad_tokens_are_named() -> None:
    model = make_model(mamba())
    decoder = make_decoder(model, model.initial_state(BATCH))
    with pytest.raises(IndexError, match=r"from 0 to 10, but are \[0, 11, 3\]"):
        decoder.step(torch.tensor([0, 11, 3]))
    with pytest.raises(IndexError, match="from 0 to 10"):
        decoder.step(torch.tensor([0, -1, 3]))
    with pytest.raises(ValueError, match=r"int64 of shape \(3,\), not int64 of shape \(2,\)"):
        decoder.step(torch.tensor([0, 1]))


def test_says_which_backends_are_available() -> None:
    assert [status.name for status in backends()["mamba_decoder"]] == ["cpu", "reference"]
