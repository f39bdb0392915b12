"""``seqsuite bench scan``: the selective scan beside its peers, against length, and against the machine."""

from seqsuite.bench.bandwidth import bytes_moved, copy_bandwidth
from seqsuite.bench.machine import describe_machine
from seqsuite.bench.operations import (
    Bench,
    Say,
    call_overhead,
    each_setting,
    times_section,
)
from seqsuite.bench.peers import (
    BACKWARD,
    BOTH,
    DTYPES,
    FORWARD,
    OURS,
    Shape,
    Work,
    make_inputs,
    runner,
)
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Times, loglog_slope
from seqsuite.devices import usable_cores
from seqsuite.report import Column, Report, Row, Section

SHAPES = [Shape(8, 1024, 512, 16), Shape(1, 16384, 512, 16), Shape(64, 256, 128, 16), Shape(2, 128, 64, 16)]
QUICK_SHAPES = [Shape(2, 64, 32, 4)]

SWEEP = Shape(1, 0, 512, 16)
SWEEP_LENGTHS = [128, 256, 512, 1024, 4096, 16384, 65536]
QUICK_LENGTHS = [32, 64, 128]
SWEEP_PEERS = [
    OURS,
    "mamba-ssm",
    "prefix-scan",
    "mambapy",
    "transformers",
    "compiled-chunks",
    "sdpa",
    "fft-conv",
]
SLOPE_FROM = 1024
"""Slopes are fitted from this length on, where a call's overhead no longer counts."""

WORKS: list[Work] = [FORWARD, BOTH]


def run(settings: Settings, say: Say) -> Report:
    """Check, time and compare: the usual shapes and a sweep over lengths, or what the user asks for of these.

    Raises:
        UserError: a peer was asked for that is not known, or cannot run here.
    """
    bench = Bench("scan", settings, say)
    sections = [bench.check_peers()]
    shapes = [Shape(*shape) for shape in settings.shapes]
    if not settings.shapes and not settings.sweep:
        shapes = QUICK_SHAPES if settings.quick else SHAPES
    for number, (allocator, threads) in enumerate(each_setting(settings)):
        for shape in shapes:
            for work in WORKS:
                memory = number == 0 and not settings.quick
                sections.append(times_section(bench, shape, work, allocator, threads, memory=memory))
        if number == 0:
            if settings.sweep or not settings.shapes:
                sections += _growth(bench)
            if shapes:
                sections += _ours_alone(bench, shapes, threads)
    return Report(settings.command, describe_machine(settings.device, settings.threads), sections)


def _ours_alone(bench: Bench, shapes: list[Shape], threads: int) -> list[Section]:
    sections = [_against_floor(bench, shapes, threads), _overhead(bench)]
    return [*sections, _thread_scaling(bench, shapes)] if bench.settings.device == "cpu" else sections


def _growth(bench: Bench) -> list[Section]:
    """Time and memory against length, and the slopes of both."""
    settings = bench.settings
    lengths = QUICK_LENGTHS if settings.quick else SWEEP_LENGTHS
    base = QUICK_SHAPES[0] if settings.quick else SWEEP
    rows: list[Row] = []
    for work in WORKS:
        alive = [name for name in bench.ready if name in SWEEP_PEERS]
        for seqlen in lengths:
            shape = base._replace(seqlen=seqlen)
            found = bench.time(shape, work, names=alive)
            peaks = {}
            if work == BOTH and seqlen >= SLOPE_FROM:
                peaks = bench.peaks(shape, [name for name in alive if isinstance(found[name], Times)])
            ours = found[OURS]
            assert isinstance(ours, Times)
            for name, times in found.items():
                row: Row = {"seqlen": seqlen, "work": work, "peer": name}
                if isinstance(times, str):
                    row["note"] = times
                    alive.remove(name)  # what takes too long at one length does so at every longer one
                else:
                    row |= {
                        "median_s": times.median,
                        "minimum_s": times.minimum,
                        "element_s": times.median / shape.elements,
                        "ratio": times.median / ours.median,
                        "peak_bytes": peaks.get(name),
                    }
                rows.append(row)
    columns = (
        Column("seqlen", "L", "count"),
        Column("work", "work"),
        Column("peer", "peer"),
        Column("ratio", "÷ ours", "ratio"),
        Column("median_s", "median", "seconds"),
        Column("minimum_s", "minimum", "seconds"),
        Column("element_s", "an element", "seconds"),
        Column("peak_bytes", "peak memory", "bytes"),
        Column("note", "note"),
    )
    shown = f"({base.batch}, L, {base.d_model}, {base.size})"
    growth = Section("growth", f"Growth with length at {shown}", columns, rows, _crossover(rows))
    return [growth, _slopes(rows, lengths)]


def _slopes(rows: list[Row], lengths: list[int]) -> Section:
    fitted_from = SLOPE_FROM if lengths[-1] > SLOPE_FROM else lengths[0]
    slopes: list[Row] = []
    for work in WORKS:
        for peer in dict.fromkeys(row["peer"] for row in rows):
            points = [
                row
                for row in rows
                if row["peer"] == peer
                and row["work"] == work
                and "median_s" in row
                and row["seqlen"] >= fitted_from
            ]
            remembered = [row for row in points if row["peak_bytes"]]
            elements = [row["element_s"] for row in points]
            slopes.append(
                {
                    "peer": peer,
                    "work": work,
                    "time_slope": loglog_slope(
                        [row["seqlen"] for row in points], [row["median_s"] for row in points]
                    ),
                    "memory_slope": loglog_slope(
                        [row["seqlen"] for row in remembered], [row["peak_bytes"] for row in remembered]
                    ),
                    "element_spread": max(elements) / min(elements) - 1 if elements else None,
                }
            )
    columns = (
        Column("peer", "peer"),
        Column("work", "work"),
        Column("time_slope", "slope of time", "number"),
        Column("memory_slope", "slope of memory", "number"),
        Column("element_spread", "spread of an element's time", "share"),
    )
    note = f"Least-squares slopes of log against log L from L = {fitted_from} on: 1 is linear, 2 quadratic."
    return Section("slopes", "Slopes against length", columns, slopes, [note])


def _crossover(rows: list[Row]) -> list[str]:
    """Say from which length on the scan is faster than attention."""
    notes = []
    for work in WORKS:
        attention = {
            row["seqlen"]: row["ratio"]
            for row in rows
            if row["peer"] == "sdpa" and row["work"] == work and "ratio" in row
        }
        slower = [seqlen for seqlen, ratio in attention.items() if ratio <= 1]
        faster = [seqlen for seqlen in attention if not slower or seqlen > max(slower)]
        if faster:
            notes.append(f"{work.capitalize()}: the scan is faster than attention from L = {faster[0]} on.")
    return notes


def _against_floor(bench: Bench, shapes: list[Shape], threads: int) -> Section:
    """Ours against what the machine's arithmetic allows, and against a copy of what must be moved."""
    settings, rows = bench.settings, []
    speeds = None
    notes = []
    bandwidth = copy_bandwidth(settings.device)
    notes.append(f"Copy: {bandwidth / 1e9:.1f} GB/s, read and written.")
    if settings.device == "cpu" and settings.dtype == "float32":
        try:
            from seqsuite.bench.floor import measure_speeds  # needs LLVM, which not every machine can load

            speeds = measure_speeds(threads)
        except (ImportError, OSError, RuntimeError) as error:
            notes.append(f"No floor of the arithmetic: {error}.")
        else:
            notes.append(
                f"Vectors of {speeds.lanes}: {speeds.fma / 1e9:.2f} G multiply-adds, "
                f"{speeds.exp2 / 1e9:.2f} G exp2, {speeds.gates / 1e6:.0f} M softplus and gate a second."
            )
    for shape in shapes:
        for work in (FORWARD, BACKWARD):
            times = bench.time(shape, work, names=[OURS])[OURS]
            assert isinstance(times, Times)
            moved = bytes_moved(shape, work, DTYPES[settings.dtype])
            row: Row = {
                "shape": str(shape),
                "work": work,
                "median_s": times.median,
                "minimum_s": times.minimum,
                "bandwidth": moved / times.median,
                "share_of_copy": moved / times.median / bandwidth,
            }
            if speeds is not None:
                floor = speeds.floor_s(shape, work)
                row |= {
                    "floor_s": floor,
                    "share": floor / times.median,
                    "share_of_minimum": floor / times.minimum,
                }
            rows.append(row)
    columns = (
        Column("shape", "shape"),
        Column("work", "work"),
        Column("median_s", "median", "seconds"),
        Column("minimum_s", "minimum", "seconds"),
        Column("floor_s", "floor", "seconds"),
        Column("share", "of the floor", "share"),
        Column("share_of_minimum", "by minimum", "share"),
        Column("bandwidth", "bytes/s", "quantity"),
        Column("share_of_copy", "of a copy", "share"),
    )
    return Section("floor", "seqsuite against the machine's floor", columns, rows, notes)


def _overhead(bench: Bench) -> Section:
    """What a call costs that has almost nothing to compute."""
    peer, function = bench.ready[OURS]
    rows: list[Row] = []
    for work in WORKS:
        inputs = make_inputs(
            peer,
            Shape(1, 1, 16, 1),
            device=bench.settings.device,
            dtype=DTYPES[bench.settings.dtype],
            grad=work != FORWARD,
        )
        rows.append(
            {"work": work, "minimum_s": call_overhead(runner(function, inputs, work), bench.settings.device)}
        )
    columns = (Column("work", "work"), Column("minimum_s", "a call", "seconds"))
    return Section("overhead", "seqsuite's overhead, at (1, 1, 16, 1)", columns, rows)


def _thread_scaling(bench: Bench, shapes: list[Shape]) -> Section:
    """Ours with one thread and with as many as there are, in turn."""
    counts = sorted({1, usable_cores(), *bench.settings.threads})
    rows: list[Row] = []
    for shape in shapes:
        for work in WORKS:
            bench.say(f"{shape} {work}: threads")
            found = bench.time_threads(shape, work, counts)
            alone = found[counts[0]]
            rows += [
                {
                    "shape": str(shape),
                    "work": work,
                    "threads": count,
                    "median_s": times.median,
                    "minimum_s": times.minimum,
                    "speedup": alone.median / times.median,
                    "speedup_of_minima": alone.minimum / times.minimum,
                }
                for count, times in found.items()
            ]
    columns = (
        Column("shape", "shape"),
        Column("work", "work"),
        Column("threads", "threads", "count"),
        Column("median_s", "median", "seconds"),
        Column("minimum_s", "minimum", "seconds"),
        Column("speedup", "speed-up over one", "number"),
        Column("speedup_of_minima", "by minima", "number"),
    )
    return Section("threads", "seqsuite by number of threads", columns, rows)
