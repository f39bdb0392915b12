"""Checkpoints of transformers and of the original Mamba, in and out, against transformers' own models."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import seqsuite.models
from seqsuite.errors import UserError
from seqsuite.models import MODELS, from_pretrained, save_pretrained
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.generation import generate
from seqsuite.models.sequence_model import LanguageModel

MAMBA = {
    "published": {},
    "untied": {"tie_word_embeddings": False},
    "biases": {"use_bias": True, "layer_norm_epsilon": 1e-3, "time_step_rank": 5},
    "no convolution bias": {"use_conv_bias": False, "conv_kernel": 3, "expand": 3, "state_size": 5},
    "all at once": {
        "tie_word_embeddings": False,
        "use_bias": True,
        "use_conv_bias": False,
        "residual_in_fp32": False,
        "vocab_size": 64,
        "num_hidden_layers": 3,
    },
}


MAMBA_2 = {
    "published": {"n_groups": 1, "tie_word_embeddings": True},
    "untied": {"n_groups": 1, "layer_norm_epsilon": 1e-3},
    "biases": {"n_groups": 1, "use_bias": True, "use_conv_bias": False, "conv_kernel": 3},
    "groups": {"n_groups": 2, "expand": 3, "num_heads": 18, "head_dim": 4, "state_size": 5},
}
SHAPES = {("mamba", name): settings for name, settings in MAMBA.items()} | {
    ("mamba2", name): settings for name, settings in MAMBA_2.items()
}


def make_theirs(kind: str = "mamba", **settings: object):
    """Return a small model of transformers with every weight random, biases and norms too."""
    torch.manual_seed(0)
    base = {"vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "eos_token_id": None}
    if kind == "mamba2":
        base |= {"state_size": 16, "num_heads": 6, "head_dim": 8, "chunk_size": 8}
    config = transformers.AutoConfig.for_model(kind, **{**base, **settings})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def make_ours(name: str = "mamba", **settings: object) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16, "n_layer": 2, **settings})
    return build_model(config, vocab_size=11, seqlen=40).eval()


def check_equal(ours: LanguageModel, theirs) -> None:
    """Check logits, and what both generate from two prompts by taking the most likely token."""
    tokens = torch.randint(theirs.config.vocab_size, (2, 19), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(tokens).logits
        torch.testing.assert_close(ours(tokens), expected, rtol=1e-5, atol=1e-5)
    everything = torch.ones_like(tokens)  # else transformers takes id 0 for padding
    continued = theirs.generate(
        tokens, attention_mask=everything, max_new_tokens=15, do_sample=False, pad_token_id=0
    )
    generated = torch.stack(list(generate(ours, tokens, 15, temperature=0)), dim=1)
    assert torch.equal(generated, continued[:, 19:])


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_theirs_computes_the_same_here_and_back_there(tmp_path: Path, kind: str, shape: str) -> None:
    theirs = make_theirs(kind, **SHAPES[kind, shape])
    theirs.save_pretrained(tmp_path / "theirs")
    ours = from_pretrained(tmp_path / "theirs")
    check_equal(ours, theirs)

    save_pretrained(ours, tmp_path / "back")
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    check_equal(ours, back)
    keys = ["tie_word_embeddings", "use_bias", "use_conv_bias", "state_size", "conv_kernel", "expand"]
    for key in keys + (["num_heads", "head_dim", "n_groups"] if kind == "mamba2" else []):
        assert getattr(back.config, key) == getattr(theirs.config, key)
    for name, weight in theirs.state_dict().items():
        assert torch.equal(weight, back.state_dict()[name])

    save_pretrained(ours, tmp_path / "native", format="native")
    assert torch.equal(
        from_pretrained(tmp_path / "native")(torch.arange(9)[None]), ours(torch.arange(9)[None])
    )


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mamba", {}),
        ("mamba", {"tie_embeddings": False, "mixer": {"name": "s6", "A_init": "random"}}),
        (
            "mamba",
            {"norm_eps": 1e-3, "block": {"name": "mamba", "bias": True, "conv_bias": False, "expand": 3}},
        ),
        ("mamba", {"mixer": {"name": "s6", "d_state": 4, "dt_rank": 2}, "size": "130m"}),
        ("mamba2", {}),
        ("mamba2", {"tie_embeddings": False, "mixer": {"name": "ssd", "d_state": 8, "head_dim": 4}}),
    ],
)
def test_transformers_loads_what_is_trained_here(
    tmp_path: Path, name: str, settings: dict[str, object]
) -> None:
    ours = make_ours(name, **settings)
    save_pretrained(ours, tmp_path)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    check_equal(ours, theirs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_padded_vocabulary_keeps_its_rows(tmp_path: Path) -> None:
    theirs = make_theirs()
    theirs.resize_token_embeddings(50, pad_to_multiple_of=16)
    theirs.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path)
    assert ours.vocab_size == 64
    check_equal(ours, theirs)


def save_original(folder: Path, theirs, **settings: object) -> None:
    """Save as mamba_ssm does: its own names, pickled, the head's weight beside the embedding's."""
    config = theirs.config
    weights = {name.replace("embeddings.", "embedding."): w for name, w in theirs.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / "pytorch_model.bin")
    description = {
        "d_model": config.hidden_size,
        "n_layer": config.num_hidden_layers,
        "vocab_size": config.vocab_size - 3,
        "ssm_cfg": {},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 8,
    }
    (folder / "config.json").write_text(json.dumps({**description, **settings}))


def test_the_original_layout_computes_the_same(tmp_path: Path) -> None:
    theirs = make_theirs(vocab_size=56)
    save_original(tmp_path / "plain", theirs)
    check_equal(from_pretrained(tmp_path / "plain"), theirs)

    theirs = make_theirs("mamba2", vocab_size=56, n_groups=2, tie_word_embeddings=True)
    ssm = {"layer": "Mamba2", "d_state": 16, "headdim": 8, "ngroups": 2, "chunk_size": 8}
    save_original(tmp_path / "second", theirs, ssm_cfg=ssm)
    check_equal(from_pretrained(tmp_path / "second"), theirs)

    theirs = make_theirs(vocab_size=56, tie_word_embeddings=False, use_bias=True, state_size=6, conv_kernel=3)
    ssm = {"layer": "Mamba1", "d_state": 6, "d_conv": 3, "bias": True, "dt_init": "random"}
    save_original(tmp_path / "other", theirs, ssm_cfg=ssm, tie_embeddings=False, d_intermediate=0)
    check_equal(from_pretrained(tmp_path / "other"), theirs)


def test_weights_in_several_files_and_in_half_precision(tmp_path: Path) -> None:
    theirs = make_theirs()
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="10KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    check_equal(from_pretrained(tmp_path / "sharded"), theirs)
    theirs.bfloat16().save_pretrained(tmp_path / "half")
    check_equal(from_pretrained(tmp_path / "half"), theirs.float())


REFUSED = {
    "hidden_act": "gelu",
    "expand": 1.5,
    "conv_kernel": "four",
    "model_type": "falcon_mamba",
    "use_bias": True,
    "state_size": 3,
    "num_hidden_layers": 1,
    "hidden_size": 0,
}


@pytest.mark.parametrize("key", REFUSED)
def test_what_has_no_layer_here_is_named(tmp_path: Path, key: str) -> None:
    make_theirs().save_pretrained(tmp_path)
    description = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**description, key: REFUSED[key]}))
    with pytest.raises(UserError) as raised:
        from_pretrained(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path} cannot be loaded: ")
    assert "\n" not in str(raised.value)
    named = {"use_bias": "in_proj.bias is missing", "state_size": "A_log has shape"}
    named |= {"num_hidden_layers": "layers.1.", "hidden_size": "greater than 0"}
    assert named.get(key, f"{key}={REFUSED[key]!r}") in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"ssm_cfg": {"layer": "Mamba3"}},
        {"ssm_cfg": {"layer": "Mamba2", "rmsnorm": False}},
        {"attn_layer_idx": [1]},
        {"ssm_cfg": {"new": 1}},
        {"rms_norm": False},
    ],
)
def test_an_original_with_other_layers_is_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    save_original(tmp_path, make_theirs(), **settings)
    with pytest.raises(UserError, match=r"The original Mamba(-2)? with .* has no layer here"):
        from_pretrained(tmp_path)


def test_models_that_transformers_has_not_are_refused(tmp_path: Path) -> None:
    for model, reason in [
        (make_ours("s4d"), "no model of block=none and mixer=s4d"),
        (make_ours("hybrid", n_layer=4), "A model with backbone.pattern="),
        (make_ours(mixer={"name": "s6", "selective_B": False}), "mixer.selective_B=False cannot be saved"),
        (make_ours(mixer={"name": "s6", "A_init": "lin"}), "A_real_log cannot be saved"),
        (make_ours("mamba2", block={"name": "mamba2", "norm_groups": 2}), "norm_groups=2 cannot be saved"),
        (make_ours(norm="layer"), "A model with norm=layer cannot be saved"),
        (make_ours(positions="learned"), "A model with positions=learned cannot be saved"),
    ]:
        with pytest.raises(UserError, match=reason):
            save_pretrained(model, tmp_path / "hf")
        assert list((tmp_path / "hf").iterdir()) == []
        save_pretrained(model, tmp_path / "native", format="native")
        tokens = torch.arange(7)[None]
        assert torch.equal(from_pretrained(tmp_path / "native")(tokens), model(tokens))
    with pytest.raises(UserError, match=r"Unknown format 'nativ'.*Did you mean 'native'"):
        save_pretrained(model, tmp_path, format="nativ")


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        from_pretrained(tmp_path)
    save_pretrained(make_ours(), tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    for damage, reason in [
        (lambda: save_file({**tensors, "extra": torch.zeros(1)}, weights), "extra belongs to no layer"),
        (lambda: weights.write_bytes(b"short"), "cannot be read"),
        (weights.unlink, "holds no weights"),
    ]:
        damage()
        with pytest.raises(UserError, match=reason):
            from_pretrained(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../secret.safetensors"}}))
    with pytest.raises(UserError, match="outside its folder"):
        from_pretrained(tmp_path)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return (Path.touch, (tmp_path / "ran",))

    save_original(tmp_path, make_theirs())
    torch.save({"backbone.embedding.weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be read: they are damaged, or more than tensors") as told:
        from_pretrained(tmp_path)
    assert "weights_only" not in str(told.value)
    assert not (tmp_path / "ran").exists()


def test_a_hub_name_is_fetched_and_its_failures_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = make_theirs(vocab_size=56)
    save_original(tmp_path, theirs)
    asked: list[tuple[object, ...]] = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns[-1]))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    check_equal(from_pretrained("state-spaces/mamba-tiny", revision="v1"), theirs)
    assert asked == [
        ("state-spaces/mamba-tiny", "v1", "*.safetensors"),
        ("state-spaces/mamba-tiny", "v1", "pytorch_model*.bin"),
    ]

    def no_network(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host\nand so on")

    monkeypatch.setattr("huggingface_hub.snapshot_download", no_network)
    with pytest.raises(UserError, match="the hub does not give such a model: no route to host"):
        from_pretrained("state-spaces/mamba-tiny")
    with pytest.raises(UserError, match="no folder 'missing'"):
        from_pretrained("missing")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="needs the extra hf"):
        from_pretrained("state-spaces/mamba-tiny")


def test_other_names_are_not_in_the_package() -> None:
    with pytest.raises(AttributeError, match="from_pretraind"):
        seqsuite.models.from_pretraind  # noqa: B018
