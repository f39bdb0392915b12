"""The model zoo: a backbone of blocks, each wrapped around a mixer, chosen independently by name."""

from seqsuite.registry import Registry

MODELS = Registry(
    "model",
    "seqsuite.models",
    {
        "mamba": "seqsuite.models.presets:mamba",
        "s4": "seqsuite.models.presets:s4",
        "s4d": "seqsuite.models.presets:s4d",
        "transformer": "seqsuite.models.presets:transformer",
        "transformer++": "seqsuite.models.presets:transformer_plus_plus",
    },
)

BLOCKS = Registry(
    "block",
    "seqsuite.blocks",
    {
        "none": "seqsuite.models.blocks.plain:PlainBlock",
        "mamba": "seqsuite.models.blocks.mamba:MambaBlock",
        "transformer": "seqsuite.models.blocks.transformer:TransformerBlock",
    },
)

MIXERS = Registry(
    "mixer",
    "seqsuite.mixers",
    {
        "s6": "seqsuite.models.mixers.s6:S6",
        "s4": "seqsuite.models.mixers.s4:S4",
        "s4d": "seqsuite.models.mixers.s4d:S4D",
        "attention": "seqsuite.models.mixers.attention:Attention",
    },
)
