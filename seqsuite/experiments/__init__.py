"""From a command line to trained models: configuration, grids, training, checkpoints and tracking."""
