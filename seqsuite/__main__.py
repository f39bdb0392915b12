"""``python -m seqsuite`` is ``seqsuite``."""

from seqsuite.cli import main

main(prog_name="seqsuite")
