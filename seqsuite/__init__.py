"""Run, compare and reproduce the experiments of the Mamba paper, on a laptop's CPU as on a GPU cluster."""

__version__ = "0.1.0"
