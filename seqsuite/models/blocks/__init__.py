"""What surrounds a mixer; add one with a file here and a line in ``seqsuite.models.BLOCKS``."""
