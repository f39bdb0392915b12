"""What inspection shows is what the layers use: their outputs can be made from it again."""

import pytest
import torch
import torch.nn.functional as F

from seqsuite.models import BLOCKS, MIXERS, MODELS
from seqsuite.models.base import GatedMixer, Inspected
from seqsuite.models.build import build_mixer, build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.inspection import inspect_model
from seqsuite.models.sequence_model import NORMS
from seqsuite.options import named_options


def make(name, width=8, **options):
    torch.manual_seed(0)
    layer = build_mixer(named_options(MIXERS, {"name": name, **options}), width, 9).double()
    x = torch.randn(2, 9, width).double()
    shown = {name: inspected.values for name, inspected in layer.inspect(x).items()}
    return layer, x, shown, layer(x)[0]


@pytest.mark.parametrize(
    "options",
    [{}, {"selective_C": False}, {"A_init": "lin"}, {"dt_rank": None, "selective_B": False}],
    ids=str,
)
def test_a_selective_layers_output_is_read_off_its_states(options):
    layer, x, shown, y = make("s6", d_state=4, **options)
    C = shown["C"] if shown["C"].dim() == 4 else shown["C"].unsqueeze(2)
    read = (C * shown["state"]).sum(-1)
    torch.testing.assert_close((2 * read.real if read.is_complex() else read) + layer.D * x, y)
    A = shown["decay"].log().real / shown["delta"].unsqueeze(-1)
    torch.testing.assert_close(A, A[:1, :1].expand_as(A))


@pytest.mark.parametrize("name", ["s4", "s4d", "hyena", "shift"])
def test_a_convolutions_output_is_made_with_its_kernel(name):
    layer, x, shown, y = make(name)
    expected = x * layer.D if name != "shift" else torch.zeros_like(x)
    for t in range(9):
        for k in range(min(t + 1, shown["kernel"].shape[1])):
            expected[:, t] += shown["kernel"][:, k] * x[:, t - k]
    torch.testing.assert_close(y, expected)
    if "output" in shown:  # of the recurrence, without the skip
        torch.testing.assert_close(shown["output"] + x * layer.D, y)
        torch.testing.assert_close(shown["input"], x)
        state = layer(x, layer.initial_state(2, dtype=torch.float64))[1]["ssm"]
        torch.testing.assert_close(shown["state"][:, -1], state)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("attention", {"n_heads": 2}),
        ("attention", {"n_heads": 4, "n_kv_heads": 2, "positions": "alibi", "window": 4}),
        ("linear_attention", {"n_heads": 2}),
    ],
)
def test_attentions_output_is_its_weights_times_the_values(name, options):
    layer, x, shown, y = make(name, **options)
    heads = options["n_heads"]
    value = layer.qkv(x).split(8, dim=-1)[-1] if "n_kv_heads" not in options else layer.qkv(x)[..., 12:]
    value = value.unflatten(-1, (-1, 8 // heads)).transpose(1, 2)
    value = value.repeat_interleave(heads // value.shape[1], dim=1)
    mixed = (shown["weights"] @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer.out_proj(mixed), y)
    torch.testing.assert_close(shown["weights"].sum(-1), torch.ones(2, heads, 9).double())


def test_retentions_weights_make_its_output():
    layer, x, shown, y = make("retention", n_heads=2, value_expand=1)
    value, gate = layer.in_proj(x)[..., 16:24], layer.in_proj(x)[..., 24:]
    retained = shown["weights"] @ value.unflatten(-1, (2, 4)).transpose(1, 2)
    normed = F.layer_norm(retained, (4,), eps=1e-6).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer.out_proj(F.silu(gate) * normed), y)


def test_ssds_decays_and_projections_make_its_output():
    layer, x, shown, y = make("ssd", d_state=3, head_dim=4)
    state, heads = torch.zeros(2, 2, 4, 3).double(), x.unflatten(-1, (2, 4))
    for t in range(9):
        fed = shown["delta"][:, t, :, None] * heads[:, t]
        state = shown["decay"][:, t, :, None, None] * state + fed.unsqueeze(-1) * shown["B"][:, t, None]
        read = (state * shown["C"][:, t, None]).sum(-1) + layer.D[:, None] * heads[:, t]
        torch.testing.assert_close(y[:, t], read.flatten(1))


def test_gated_deltas_rates_are_between_nothing_and_all():
    _, _, shown, _ = make("gated_delta")
    for name in ("decay", "beta"):
        assert shown[name].shape == (2, 9, 4)
        assert ((shown[name] > 0) & (shown[name] < 1)).all()


@pytest.mark.parametrize("block", BLOCKS.names())
@pytest.mark.parametrize("mixer", MIXERS.names())
def test_every_block_shows_what_its_mixer_gets(block, mixer):
    """What the mixer is asked to show is of the inputs that the block gives it, fused or not."""
    torch.manual_seed(0)
    make = lambda width: build_mixer(named_options(MIXERS, {"name": mixer}), width, 9)  # noqa: E731
    layer, x = BLOCKS.load(block)(16, make, NORMS["rms"]).double(), torch.randn(2, 9, 16).double()
    taken = []
    layer.mixer.register_forward_pre_hook(
        lambda _, inputs, options: taken.append((inputs[0], options.get("controls"))), with_kwargs=True
    )
    if isinstance(layer.mixer, GatedMixer):
        layer.mixer.scan_weights = lambda: None  # so that the block does not run it within a fused operation
    layer(x)
    [(u, controls)] = taken
    expected = layer.mixer.inspect(u) if controls is None else layer.mixer.inspect(u, controls)
    shown = layer.inspect(x)
    assert shown.keys() == expected.keys() != set()
    for name, inspected in shown.items():
        torch.testing.assert_close(inspected.values, expected[name].values)


def test_axes_are_as_many_as_dimensions_and_known():
    with pytest.raises(ValueError, match="axes must name 2 dimensions"):
        Inspected(torch.zeros(2, 3), ("batch",))
    with pytest.raises(ValueError, match=r"axes must be of batch, .*, not time"):
        Inspected(torch.zeros(2, 3), ("batch", "time"))


@pytest.mark.parametrize("name", MODELS.names())
def test_every_models_mixers_can_be_inspected_without_a_trace(name):
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16, "n_layer": 4})
    model, tokens = build_model(config, vocab_size=5, seqlen=12), torch.randint(5, (2, 12))
    shown = inspect_model(model, tokens)
    assert len(shown) == 4
    assert all(shown)
    for decided in shown:
        for inspected in decided.values():
            assert not inspected.values.requires_grad
            sizes = dict(zip(inspected.axes, inspected.values.shape, strict=True))
            assert sizes.get("batch", 2) == 2
            assert all(sizes.get(axis, 12) == 12 for axis in ("position", "query", "key"))
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_what_a_block_passes_to_its_mixer_is_what_is_inspected():
    config = ModelConfig(name="mamba2", **{**MODELS.load("mamba2")(), "d_model": 16, "n_layer": 1})
    model, tokens = build_model(config, vocab_size=5, seqlen=12), torch.randint(5, (2, 12))
    block = model.blocks[0]
    projected = block.in_proj(block.norm(model.embedding(tokens)))
    delta = F.softplus(projected[..., -block.plain :] + block.mixer.dt_bias)
    torch.testing.assert_close(inspect_model(model, tokens)[0]["delta"].values, delta.detach())
