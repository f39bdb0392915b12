"""The order of studies on the pages: that of the Mamba paper's sections, then all others by name."""

from seqsuite.results.order import Key, natural

PAPER = (
    *(
        "table1",
        "table2",
        "fig4",
        "table3",
        "fig5",
        "fig5context",
        "fig6",
        "fig7",
        "table4",
        "table5",
        "fig8",
    ),
    *("table6", "table7", "table8", "table9", "table10"),
)
"""Studies of the paper, as its section 4 has them."""


def place(study: str) -> tuple[int, Key]:
    """Return what to sort studies by."""
    return PAPER.index(study) if study in PAPER else len(PAPER), natural(study)
