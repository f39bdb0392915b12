"""The model zoo: a backbone of blocks, each wrapped around a mixer, chosen independently by name."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from seqsuite.registry import Registry

if TYPE_CHECKING:
    from seqsuite.models.backbones.base import Backbone
    from seqsuite.models.base import Block, Mixer
    from seqsuite.models.pretrained import from_pretrained, save_pretrained

__all__ = ["BLOCKS", "MIXERS", "MODELS", "from_pretrained", "save_pretrained"]

MODELS: Registry[Callable[[], dict[str, Any]]] = Registry(
    "model",
    "seqsuite.models",
    {
        "mamba": "seqsuite.models.presets:mamba",
        "mamba2": "seqsuite.models.presets:mamba2",
        "s4": "seqsuite.models.presets:s4",
        "s4d": "seqsuite.models.presets:s4d",
        "h3": "seqsuite.models.presets:h3",
        "hyena": "seqsuite.models.presets:hyena",
        "retnet": "seqsuite.models.presets:retnet",
        "gated_deltanet": "seqsuite.models.presets:gated_deltanet",
        "transformer": "seqsuite.models.presets:transformer",
        "transformer++": "seqsuite.models.presets:transformer_plus_plus",
        "hybrid": "seqsuite.models.presets:hybrid",
    },
)

BACKBONES: "Registry[Callable[..., Backbone]]" = Registry(
    "backbone",
    "seqsuite.backbones",
    {
        "isotropic": "seqsuite.models.backbones.isotropic:Isotropic",
        "unet": "seqsuite.models.backbones.unet:UNet",
    },
)

BLOCKS: "Registry[Callable[..., Block]]" = Registry(
    "block",
    "seqsuite.blocks",
    {
        "none": "seqsuite.models.blocks.plain:PlainBlock",
        "h3": "seqsuite.models.blocks.h3:H3Block",
        "mamba": "seqsuite.models.blocks.mamba:MambaBlock",
        "mamba2": "seqsuite.models.blocks.mamba2:Mamba2Block",
        "transformer": "seqsuite.models.blocks.transformer:TransformerBlock",
    },
)

MIXERS: "Registry[Callable[..., Mixer]]" = Registry(
    "mixer",
    "seqsuite.mixers",
    {
        "s6": "seqsuite.models.mixers.s6:S6",
        "s4": "seqsuite.models.mixers.s4:S4",
        "s4d": "seqsuite.models.mixers.s4d:S4D",
        "ssd": "seqsuite.models.mixers.ssd:SSD",
        "shift": "seqsuite.models.mixers.shift:ShiftSSM",
        "hyena": "seqsuite.models.mixers.hyena:Hyena",
        "attention": "seqsuite.models.mixers.attention:Attention",
        "linear_attention": "seqsuite.models.mixers.linear_attention:LinearAttention",
        "gated_delta": "seqsuite.models.mixers.gated_delta:GatedDelta",
        "retention": "seqsuite.models.mixers.retention:Retention",
    },
)


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for: settings are completed and checked without it."""
    if name in ("from_pretrained", "save_pretrained"):
        from seqsuite.models import pretrained

        return getattr(pretrained, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
