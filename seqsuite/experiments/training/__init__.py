"""The training of one cell: the loop, and what is handed to it."""
