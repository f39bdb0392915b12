"""Mamba-2 as Hugging Face's ``Mamba2ForCausalLM`` and as the original ``state-spaces/mamba2-*`` store it.

The tables are those of `transformers <https://github.com/huggingface/transformers>`_'s ``Mamba2Config`` and
`mamba_ssm <https://github.com/state-spaces/mamba>`_'s ``Mamba2``.
"""

import math
from typing import Any

from seqsuite.models.config import ModelConfig
from seqsuite.models.formats.layout import Description, Layout, Setting
from seqsuite.models.formats.mamba import HUGGING_FACE_KEPT, ORIGINAL_KEPT

_KIND = {"name": "mamba2", "block": {"name": "mamba2"}, "mixer": {"name": "ssd"}, "norm": "rms"}

_WEIGHTS = {
    "embedding.weight": "backbone.embeddings.weight",
    "blocks.{i}.norm.weight": "backbone.layers.{i}.norm.weight",
    "blocks.{i}.in_proj.weight": "backbone.layers.{i}.mixer.in_proj.weight",
    "blocks.{i}.in_proj.bias": "backbone.layers.{i}.mixer.in_proj.bias",
    "blocks.{i}.conv_weight": "backbone.layers.{i}.mixer.conv1d.weight",
    "blocks.{i}.conv_bias": "backbone.layers.{i}.mixer.conv1d.bias",
    "blocks.{i}.mixer.dt_bias": "backbone.layers.{i}.mixer.dt_bias",
    "blocks.{i}.mixer.A_log": "backbone.layers.{i}.mixer.A_log",
    "blocks.{i}.mixer.D": "backbone.layers.{i}.mixer.D",
    "blocks.{i}.gated_norm.weight": "backbone.layers.{i}.mixer.norm.weight",
    "blocks.{i}.out_proj.weight": "backbone.layers.{i}.mixer.out_proj.weight",
    "blocks.{i}.out_proj.bias": "backbone.layers.{i}.mixer.out_proj.bias",
    "norm.weight": "backbone.norm_f.weight",
    "head.weight": "lm_head.weight",
}

_NO_LIMIT = ([0.0, {"__float__": "Infinity"}], [0.0, math.inf])
"""The default bounds of Δ, which bound nothing, as ``transformers`` and as JSON write infinity."""


def with_explicit_heads(config: ModelConfig) -> ModelConfig:
    """Return ``config`` with the width of a head as a number: others' default does not look at the width."""
    values = config.model_dump()
    if values["mixer"].get("head_dim") == "auto":
        values["mixer"]["head_dim"] = math.gcd(64, values["block"]["expand"] * config.d_model)
    return ModelConfig.model_validate(values)


def _num_heads(description: Description) -> dict[str, Any]:
    inside = description["expand"] * description["hidden_size"]
    return {"num_heads": inside // description["head_dim"]}


HUGGING_FACE = Layout(
    title="Hugging Face's Mamba-2",
    kind=_KIND,
    settings=(
        Setting("hidden_size", "d_model", 4096),
        Setting("num_hidden_layers", "n_layer", 64),
        Setting("expand", "block.expand", 2),
        Setting("conv_kernel", "block.d_conv", 4),
        Setting("use_bias", "block.bias", False),
        Setting("use_conv_bias", "block.conv_bias", True),
        Setting("n_groups", "block.norm_groups", 8),
        Setting("layer_norm_epsilon", "block.norm_eps", 1e-5),
        Setting("state_size", "mixer.d_state", 128),
        Setting("head_dim", "mixer.head_dim", 64),
        Setting("n_groups", "mixer.n_groups", 8),
        Setting("time_step_min", "mixer.dt_min", 1e-3),
        Setting("time_step_max", "mixer.dt_max", 1e-1),
        Setting("layer_norm_epsilon", "norm_eps", 1e-5),
        Setting("tie_word_embeddings", "tie_embeddings", False),
    ),
    fixed={"hidden_act": ("silu", "swish"), "time_step_limit": _NO_LIMIT, "rms_norm": (True,)},
    weights=_WEIGHTS,
    explicit=with_explicit_heads,
    derived=_num_heads,
    kept=HUGGING_FACE_KEPT | {"chunk_size": "chunk_size"},
)

ORIGINAL = Layout(
    title="The original Mamba-2",
    kind=_KIND,
    settings=(
        Setting("d_model", "d_model", 2560),
        Setting("n_layer", "n_layer", 64),
        Setting("ssm_cfg.expand", "block.expand", 2),
        Setting("ssm_cfg.d_conv", "block.d_conv", 4),
        Setting("ssm_cfg.bias", "block.bias", False),
        Setting("ssm_cfg.conv_bias", "block.conv_bias", True),
        Setting("ssm_cfg.ngroups", "block.norm_groups", 1),
        Setting("ssm_cfg.d_state", "mixer.d_state", 128),
        Setting("ssm_cfg.headdim", "mixer.head_dim", 64),
        Setting("ssm_cfg.ngroups", "mixer.n_groups", 1),
        Setting("ssm_cfg.dt_min", "mixer.dt_min", 1e-3),
        Setting("ssm_cfg.dt_max", "mixer.dt_max", 1e-1),
        Setting("tie_embeddings", "tie_embeddings", True),
    ),
    fixed={
        "ssm_cfg.layer": ("Mamba2",),
        "ssm_cfg.rmsnorm": (True,),
        "ssm_cfg.norm_before_gate": (False,),
        "ssm_cfg.D_has_hdim": (False,),
        "ssm_cfg.dt_limit": _NO_LIMIT,
        "d_intermediate": (0,),
        "attn_layer_idx": ([],),
        "rms_norm": (True,),
    },
    weights=_WEIGHTS | {"embedding.weight": "backbone.embedding.weight"},
    explicit=with_explicit_heads,
    ignored=frozenset(
        {
            "vocab_size",
            "pad_vocab_size_multiple",
            "fused_add_norm",
            "ssm_cfg.use_mem_eff_path",
            "ssm_cfg.A_init_range",
            "ssm_cfg.conv_init",
        }
    ),
    kept=ORIGINAL_KEPT | {"ssm_cfg.chunk_size": "chunk_size"},
)
