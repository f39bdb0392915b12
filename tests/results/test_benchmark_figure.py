"""Pictures of benchmarks, as they are expected."""

from seqsuite.report import Report, Section
from seqsuite.results.benchmark_figure import benchmark_figure
from seqsuite.results.benchmarks import QUICK

from .drawn import check, in_words

MACHINE = {"processor": "a fast one", "cores": "2", "PyTorch": "2.11"}


def times(title: str, key: str, **peers: float | None) -> Section:
    return Section("times", title, (), [{"peer": peer, key: value} for peer, value in peers.items()])


def test_ratios_and_rates_are_drawn_as_expected() -> None:
    ours = Report(
        "seqsuite bench scan",
        MACHINE,
        [
            times("short", "ratio", seqsuite=1.0, other=2.5, third=None),
            times("long", "ratio", seqsuite=1.0, other=4.0, third=8.0),
        ],
    )
    models = {f"model_{place}": 1000.0 * 2**place for place in range(8)}
    rates = Report("seqsuite bench models", MACHINE, [times("models", "tokens_per_second", **models)])
    check("benchmark_times.txt", in_words(benchmark_figure([ours, rates])))


def test_a_quick_benchmark_is_labelled_where_it_is_drawn() -> None:
    tables = [times("short", "ratio", seqsuite=1.0, other=2.5)]
    for command, label in (("seqsuite bench scan", ""), ("seqsuite bench scan --sweep --quick", QUICK)):
        figure = benchmark_figure([Report(command, MACHINE, tables)])
        assert figure.get_supxlabel() == label


def test_growth_and_complexity_are_drawn_as_expected() -> None:
    growth = [
        {"work": work, "peer": peer, "seqlen": seqlen, "median_s": seqlen * each, "peak_bytes": memory}
        for work, each in (("forward", 1e-5), ("train", 3e-5))
        for peer, memory in (("seqsuite", 1 << 20), ("other", None))
        for seqlen in (256, 1024)
    ]
    slopes = [{"work": "train", "peer": "seqsuite", "time_slope": 1.004, "memory_slope": -0.001}]
    sweep = Report(
        "seqsuite bench sweep",
        {**MACHINE, "GPU": "a GPU"},
        [Section("growth", "", (), growth), Section("slopes", "", (), slopes)],
    )
    complexity = [
        {
            "model": f"m{place}",
            "seqlen": seqlen,
            "train_s": seqlen * 3e-5,
            "train_bytes": seqlen << 12,
            "decode_s": 1e-3 * (1 + place),
            "state_bytes": 4096,
        }
        for place in range(7)
        for seqlen in (300, 2000, 6000)
    ]
    exponents = [
        {"model": "m0", "train_slope": 1.0, "memory_slope": 1.25, "decode_slope": 0.1, "state_slope": 0.0}
    ]
    lengths = Report(
        "seqsuite bench complexity",
        MACHINE,
        [Section("complexity", "", (), complexity), Section("exponents", "", (), exponents)],
    )
    check("benchmark_lengths.txt", in_words(benchmark_figure([sweep, lengths])))
