"""Layers that mix along the sequence; add one with a file here and a line in ``seqsuite.models.MIXERS``."""
