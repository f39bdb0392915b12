"""Whole models: sizes, initialisation, state."""

import math
from itertools import pairwise

import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.models import MODELS
from seqsuite.models.build import build_model, build_shaped, count_parameters
from seqsuite.models.config import ModelConfig, ModelShape
from seqsuite.models.sequence_model import BackboneState, LanguageModel


def make_config(name: str, **settings: object) -> ModelConfig:
    return ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16, "n_layer": 2, **settings})


def make_model(name: str, **settings: object) -> LanguageModel:
    torch.manual_seed(0)
    return build_model(make_config(name, **settings), vocab_size=11, seqlen=40).double().eval()


def unet(**options: object) -> dict[str, object]:
    return {"n_layer": 1, "backbone": {"name": "unet", "pool": 3, **options}}


every_model = pytest.mark.parametrize("name", MODELS.names())


@every_model
@pytest.mark.parametrize("backbone", ["isotropic", "unet"])
def test_steps_equal_one_prefill_equal_the_forward_pass(name, backbone):
    settings = unet() if backbone == "unet" else {"n_layer": 4}
    model, tokens = make_model(name, **settings), torch.randint(11, (2, 23))
    logits = model(tokens)
    prefilled, state = model.prefill(tokens[:, :9], model.initial_state(2))
    torch.testing.assert_close(prefilled, logits[:, :9])
    for t in range(9, 23):
        stepped, state = model.step(tokens[:, t], state)
        torch.testing.assert_close(stepped, logits[:, t])
    assert state.position == 23


@every_model
@pytest.mark.parametrize("backbone", ["isotropic", "unet"])
def test_packed_sequences_do_not_see_each_other(name, backbone):
    model, tokens = make_model(name, **unet() if backbone == "unet" else {}), torch.randint(11, (1, 20))
    packed = model(tokens, torch.tensor([0, 4, 20], dtype=torch.int32))
    torch.testing.assert_close(packed[:, :4], model(tokens[:, :4]))
    torch.testing.assert_close(packed[:, 4:], model(tokens[:, 4:]))


def gradients(model, outputs):
    """Return the gradients of a fixed random sum over outputs."""
    weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1)).double()
    return torch.autograd.grad(outputs, list(model.parameters()), weights, materialize_grads=True)


def assert_all_close(actual, expected):
    for ours, theirs in zip(actual, expected, strict=True):
        scale = theirs.abs().max().clamp_min(1e-3).item()
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10 * scale)


@every_model
@pytest.mark.parametrize("backbone", ["isotropic", "unet"])
def test_training_from_a_carried_state(name, backbone):
    """Values of chunks are the whole's; gradients are those of the chunk alone, or of all if not detached."""
    settings = unet() if backbone == "unet" else {"n_layer": 4}
    model, tokens = make_model(name, **settings), torch.randint(11, (2, 21))
    whole, state, attached = model(tokens), model.initial_state(2), model.initial_state(2)
    through = []
    for chunk in (slice(0, 8), slice(8, 11), slice(11, 21)):
        logits, after = model(tokens[:, chunk], state=state)
        assert_all_close([logits], [whole[:, chunk]])
        stepped, now = [], state
        for t in range(chunk.start, chunk.stop):
            y, now = model.step(tokens[:, t], now)
            stepped.append(y)
        assert_all_close(gradients(model, logits), gradients(model, torch.stack(stepped, dim=1)))
        state = after.detach()
        assert not any(value.requires_grad for block in state.blocks for value in block.values())
        logits, attached = model(tokens[:, chunk], state=attached)
        through.append(logits)
    assert (state.position, attached.position) == (21, 21)
    assert_all_close(gradients(model, torch.cat(through, dim=1)), gradients(model, whole))


@every_model
def test_packed_chunks_go_on_from_states(name):
    model, tokens = make_model(name), torch.randint(11, (1, 20))
    offsets = torch.tensor([0, 4, 5, 20])
    state = model.prefill(torch.randint(11, (3, 6)), model.initial_state(3))[1].detach()
    if not model.packed_state:
        with pytest.raises(ValueError, match="no state for packed sequences"):
            model(tokens, offsets, state=state)
        return
    logits, after = model(tokens, offsets, state=state)
    separate = []
    for s, (start, end) in enumerate(pairwise(offsets.tolist())):
        blocks = tuple({key: value[s : s + 1] for key, value in block.items()} for block in state.blocks)
        separate.append(model(tokens[:, start:end], state=BackboneState(6, blocks)))
    expected = torch.cat([y for y, _ in separate], dim=1)
    assert_all_close([logits, *gradients(model, logits)], [expected, *gradients(model, expected)])
    assert after.position == max(one.position for _, one in separate) == 21
    joined = model.join_states([one for _, one in separate])
    for ours, theirs in zip(after.blocks, joined.blocks, strict=True):
        assert ours.keys() == theirs.keys()
        assert_all_close(ours.values(), theirs.values())


@pytest.mark.parametrize("name", ["mamba", "mamba2", "s4", "s4d", "h3", "retnet", "gated_deltanet"])
def test_memory_of_training_on_chunks_does_not_grow_with_the_document(name):
    """What the backward of the tenth chunk keeps is as large as of the second, and so is the state."""
    model, kept = make_model(name), {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    sizes, state = [], model.initial_state(2)
    for _ in range(10):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits, state = model(torch.randint(11, (2, 6)), state=state)
        logits.sum().backward()
        state = state.detach()
        held = sum(value.numel() for block in state.blocks for value in block.values())
        sizes.append((sum(storage.nbytes() for storage in kept.values()), held))
    assert sizes[1] == sizes[9]


@pytest.mark.parametrize("backbone", [{}, unet()], ids=["isotropic", "unet"])
def test_a_classifier_reads_the_last_token(backbone):
    torch.manual_seed(0)
    config = make_config("mamba", **backbone)
    model = build_shaped(config, ModelShape(vocab_size=11, seqlen=40, n_classes=5)).double()
    tokens = torch.randint(11, (3, 12))
    classes = model(tokens)
    assert classes.shape == (3, 5)
    along, state = model.prefill(tokens[:, :11], model.initial_state(3))
    torch.testing.assert_close(model.step(tokens[:, 11], state)[0], classes)
    torch.testing.assert_close(along[:, 6], model(tokens[:, :7]))
    padded = model(tokens, lengths=torch.tensor([12, 7, 1]))
    separate = torch.cat([model(tokens[i : i + 1, :n]) for i, n in enumerate((12, 7, 1))])
    torch.testing.assert_close(padded, separate)
    packed = model(tokens[:1], torch.tensor([0, 4, 12]))
    torch.testing.assert_close(packed, torch.cat([model(tokens[:1, :4]), model(tokens[:1, 4:])]))
    with pytest.raises(ValueError, match="not both"):
        model(tokens, torch.tensor([0, 12]), torch.tensor([12, 7, 1]))


def test_mamba_parameter_count_is_the_published_blocks():
    """Embedding; a block: norm, in- and out-projection, convolution, x_proj, dt_proj, A, D; last norm."""
    D, N, E, R, V = 64, 16, 128, 4, 50
    block = D + D * 2 * E + E * D + E * 4 + E + E * (R + 2 * N) + R * E + E + E * N + E
    config = ModelConfig(name="mamba", **MODELS.load("mamba")(), d_model=D, n_layer=3)
    assert count_parameters(config, ModelShape(vocab_size=V, seqlen=8)) == V * D + 3 * block + D


def test_residual_outputs_shrink_with_the_depth():
    shallow, deep = (make_model("transformer", n_layer=n) for n in (1, 16))
    stds = [model.blocks[0].mlp.down_proj.weight.detach().std().item() for model in (shallow, deep)]
    assert math.isclose(stds[0] / stds[1], 4, rel_tol=0.1)  # √(2 · 16 / 2)


def test_embeddings_are_tied_unless_told_otherwise():
    tied, untied = make_model("mamba"), make_model("mamba", tie_embeddings=False)
    assert tied.head.weight is tied.embedding.weight
    assert untied.num_parameters() == tied.num_parameters() + 11 * 16


def test_learned_positions_end_somewhere():
    model = make_model("transformer")
    with pytest.raises(UserError, match="learned positions for 40 tokens and was given 41"):
        model(torch.zeros(1, 41, dtype=torch.long))


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(UserError, match="'transformer' cannot be built: attention needs d_model divisible"):
        make_model("transformer", d_model=20)


def test_a_pattern_arranges_several_kinds_of_layers():
    model = make_model("hybrid", n_layer=9)
    kinds = [type(block.mixer).__name__ for block in model.blocks.layers()]
    assert kinds == ["S6", "S6", "S6", "Attention"] * 2 + ["S6"]
    named = {"name": "isotropic", "pattern": ["s4", "main*2", "transformer++"]}
    model = make_model("retnet", n_layer=4, backbone=named)
    kinds = [type(block.mixer).__name__ for block in model.blocks.layers()]
    assert kinds == ["S4", "Retention", "Retention", "Attention"]


@pytest.mark.parametrize("entry", ["main*0", "main*", "*3", "main*x", "main*2*2", ""])
def test_patterns_that_cannot_be_read_are_named(entry):
    with pytest.raises(UserError, match=f"entry {entry!r} is no NAME or NAME.COUNT".replace("*", ".")):
        make_model("mamba", backbone={"name": "isotropic", "pattern": ["main", entry]})


def test_layers_that_do_not_exist_are_named():
    with pytest.raises(
        UserError, match=r"There is no layer 'mambo': choose from main, .*Did you mean 'mamba'"
    ):
        make_model("mamba", backbone={"name": "isotropic", "pattern": ["mambo"]})


def test_unet_is_the_stages_written_out():
    """Blocks, frames of three, blocks in the centre, frames given back one frame later, and a skip."""
    model = make_model("mamba", **unet(stages=1, outer="s4d"))
    unet_, x = model.blocks, torch.randn(2, 11, 16).double()
    down = unet_.down[0](x)[0]
    frames = torch.stack([unet_.to_frame(down[:, 3 * i : 3 * i + 3].flatten(1)) for i in range(3)], dim=1)
    coarse = unet_.inner[0](frames)[0]
    summed = down.clone()
    for t in range(3, 11):
        frame, place = divmod(t - 3, 3)
        summed[:, t] += unet_.from_frame(coarse[:, frame])[:, 16 * place : 16 * place + 16]
    torch.testing.assert_close(unet_(x)[0], unet_.up[0](summed)[0])
    assert [type(block.mixer).__name__ for block in unet_.layers()] == ["S4D", "S6", "S4D"]


@pytest.mark.parametrize("cuts", [(1,), (2, 5, 6), (9, 20)])
def test_unet_equals_any_split_into_chunks_with_gradients(cuts):
    model = make_model("mamba", **unet(outer="s4"))
    x = torch.randn(2, 31, 16).double().requires_grad_()
    weights = torch.randn_like(x)
    whole = model.blocks(x)[0]
    state, chunks = model.blocks.initial_state(2, dtype=x.dtype), []
    for chunk in torch.tensor_split(x, cuts, dim=1):
        y, state = model.blocks(chunk, state)
        chunks.append(y)
    y = torch.cat(chunks, dim=1)
    torch.testing.assert_close(y, whole)
    inputs = [x, *model.blocks.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad((y * weights).sum(), inputs),
        torch.autograd.grad((whole * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


def test_unet_sees_no_later_token_and_carries_no_packed_state():
    model, tokens = make_model("mamba", **unet()), torch.randint(11, (1, 30))
    changed = tokens.clone()
    changed[:, 17] = (changed[:, 17] + 1) % 11
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :17], after[:, :17], rtol=0, atol=1e-12)
    assert (before[:, 17:] - after[:, 17:]).abs().max() > 1e-6
    states = model.blocks.initial_state(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="no state for packed sequences"):
        model.blocks(torch.zeros(1, 4, 16).double(), states, torch.tensor([0, 4]))
