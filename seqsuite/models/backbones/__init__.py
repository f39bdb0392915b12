"""How blocks are arranged; add one with a file here and a line in ``seqsuite.models.BACKBONES``."""
