"""Mamba as Hugging Face's ``MambaForCausalLM`` and as the original ``state-spaces/mamba-*`` store it.

The tables are those of `transformers <https://github.com/huggingface/transformers>`_'s ``MambaConfig`` and
`mamba_ssm <https://github.com/state-spaces/mamba>`_'s ``MambaConfig`` and ``Mamba``. Weights have the same
shapes everywhere but for the convolution's filters, which they store as (D, 1, K) and we as (D, K).
"""

import math

from seqsuite.models.config import ModelConfig
from seqsuite.models.formats.layout import Layout, Setting

_KIND = {"name": "mamba", "block": {"name": "mamba"}, "mixer": {"name": "s6"}, "norm": "rms"}

_WEIGHTS = {
    "embedding.weight": "backbone.embeddings.weight",
    "blocks.{i}.norm.weight": "backbone.layers.{i}.norm.weight",
    "blocks.{i}.in_proj.weight": "backbone.layers.{i}.mixer.in_proj.weight",
    "blocks.{i}.in_proj.bias": "backbone.layers.{i}.mixer.in_proj.bias",
    "blocks.{i}.conv_weight": "backbone.layers.{i}.mixer.conv1d.weight",
    "blocks.{i}.conv_bias": "backbone.layers.{i}.mixer.conv1d.bias",
    "blocks.{i}.mixer.x_proj.weight": "backbone.layers.{i}.mixer.x_proj.weight",
    "blocks.{i}.mixer.dt_proj.weight": "backbone.layers.{i}.mixer.dt_proj.weight",
    "blocks.{i}.mixer.dt_proj.bias": "backbone.layers.{i}.mixer.dt_proj.bias",
    "blocks.{i}.mixer.A_log": "backbone.layers.{i}.mixer.A_log",
    "blocks.{i}.mixer.D": "backbone.layers.{i}.mixer.D",
    "blocks.{i}.out_proj.weight": "backbone.layers.{i}.mixer.out_proj.weight",
    "blocks.{i}.out_proj.bias": "backbone.layers.{i}.mixer.out_proj.bias",
    "norm.weight": "backbone.norm_f.weight",
    "head.weight": "lm_head.weight",
}


HUGGING_FACE_KEPT = {
    key: key
    for key in (
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "residual_in_fp32",
        "rescale_prenorm_residual",
        "initializer_range",
        "time_step_scale",
        "time_step_floor",
        "time_step_init_scheme",
    )
}
"""Keys of Hugging Face's that change no number here, but generation, training and precision there."""

ORIGINAL_KEPT = {
    "residual_in_fp32": "residual_in_fp32",  # weights are read as float32, and residuals are too
    "ssm_cfg.dt_scale": "time_step_scale",
    "ssm_cfg.dt_init_floor": "time_step_floor",
}
"""The original's keys of that kind."""


def with_explicit_rank(config: ModelConfig) -> ModelConfig:
    """Return ``config`` with the rank of Δ as a number: others' ``"auto"`` is another one than ours."""
    values = config.model_dump()
    if values["mixer"].get("dt_rank") == "auto":
        values["mixer"]["dt_rank"] = math.ceil(values["block"].get("expand", 1) * config.d_model / 32)
    return ModelConfig.model_validate(values)


HUGGING_FACE = Layout(
    title="Hugging Face's Mamba",
    kind=_KIND,
    settings=(
        Setting("hidden_size", "d_model", 768),
        Setting("num_hidden_layers", "n_layer", 32),
        Setting("expand", "block.expand", 2),
        Setting("conv_kernel", "block.d_conv", 4),
        Setting("use_bias", "block.bias", False),
        Setting("use_conv_bias", "block.conv_bias", True),
        Setting("state_size", "mixer.d_state", 16),
        Setting("time_step_rank", "mixer.dt_rank", lambda d: math.ceil(d.get("hidden_size", 768) / 16)),
        Setting("time_step_min", "mixer.dt_min", 1e-3),
        Setting("time_step_max", "mixer.dt_max", 1e-1),
        Setting("layer_norm_epsilon", "norm_eps", 1e-5),
        Setting("tie_word_embeddings", "tie_embeddings", True),
    ),
    fixed={"hidden_act": ("silu", "swish")},
    weights=_WEIGHTS,
    explicit=with_explicit_rank,
    kept=HUGGING_FACE_KEPT,
)

ORIGINAL = Layout(
    title="The original Mamba",
    kind=_KIND,
    settings=(
        Setting("d_model", "d_model", 2560),
        Setting("n_layer", "n_layer", 64),
        Setting("ssm_cfg.expand", "block.expand", 2),
        Setting("ssm_cfg.d_conv", "block.d_conv", 4),
        Setting("ssm_cfg.bias", "block.bias", False),
        Setting("ssm_cfg.conv_bias", "block.conv_bias", True),
        Setting("ssm_cfg.d_state", "mixer.d_state", 16),
        Setting("ssm_cfg.dt_rank", "mixer.dt_rank", lambda d: math.ceil(d.get("d_model", 2560) / 16)),
        Setting("ssm_cfg.dt_min", "mixer.dt_min", 1e-3),
        Setting("ssm_cfg.dt_max", "mixer.dt_max", 1e-1),
        Setting("tie_embeddings", "tie_embeddings", True),
    ),
    fixed={
        "ssm_cfg.layer": ("Mamba1",),
        "d_intermediate": (0,),
        "attn_layer_idx": ([],),
        "rms_norm": (True,),
    },
    weights=_WEIGHTS | {"embedding.weight": "backbone.embedding.weight"},
    explicit=with_explicit_rank,
    ignored=frozenset(
        {
            "vocab_size",
            "pad_vocab_size_multiple",
            "fused_add_norm",
            "ssm_cfg.use_fast_path",
        }
    ),
    kept=ORIGINAL_KEPT | {"ssm_cfg.dt_init": "time_step_init_scheme"},
)
