"""What a benchmark is asked to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The options of ``seqsuite bench``.

    Attributes:
        command: the command as typed, for the report.
        device: "cpu" or "cuda".
        dtype: of sequences: "float32" or "bfloat16".
        threads: numbers of CPU threads to measure with, the first for everything, others for the main tables.
        allocators: "default", "tuned" or both in this order.
        repeats: samples of each peer.
        limit_s: a peer whose call would take longer is not run.
        budget_s: seconds for the samples of one peer in one table; a slow one gets fewer, two at least.
        peers: names asked for; all if empty.
        shapes: sizes asked for; the benchmark's own if empty.
        sweep: whether to sweep lengths (scan only): without shapes, and only that, or after them.
        quick: whether to take tiny sizes, to see that everything works.
    """

    command: str
    device: str = "cpu"
    dtype: str = "float32"
    threads: tuple[int, ...] = (1,)
    allocators: tuple[str, ...] = ("default",)
    repeats: int = 7
    limit_s: float = 20.0
    budget_s: float = 4.0
    peers: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    sweep: bool = False
    quick: bool = False
