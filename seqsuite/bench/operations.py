"""Benchmarks of one operation: check every peer, leave out what takes too long, time the rest in turn."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from seqsuite.allocator import keep_freed_memory
from seqsuite.bench.machine import available_memory, describe_machine
from seqsuite.bench.memory import peak_bytes
from seqsuite.bench.peers import (
    BOTH,
    DTYPES,
    FORWARD,
    OURS,
    TOLERANCES,
    Function,
    Peer,
    Shape,
    Work,
    check,
    make_inputs,
    peers_of,
    runner,
)
from seqsuite.bench.settings import Settings
from seqsuite.bench.timing import Run, Times, expected_time, interleave, time_once, warm_up
from seqsuite.errors import UserError
from seqsuite.registry import did_you_mean
from seqsuite.report import Column, Report, Row, Section

# From this length on a peer is tried at shorter ones first, to estimate what the whole would take.
SHORTEST_PROBED = 128
# A peer may be estimated to hold at most this share of the memory that is free.
MEMORY_SHARE = 0.5

Say = Callable[[str], None]

TIME_COLUMNS = (
    Column("peer", "peer"),
    Column("ratio", "÷ ours", "ratio"),
    Column("ratio_of_minima", "by minima", "ratio"),
    Column("median_s", "median", "seconds"),
    Column("minimum_s", "minimum", "seconds", optional=True),
    Column("quartiles_s", "quartiles", "range", optional=True),
    Column("samples", "samples", "count", optional=True),
)
NOTE = Column("note", "note")


def choose(names: tuple[str, ...], known: list[str]) -> list[str]:
    """Return the names asked for, ours first, or all that there are.

    Raises:
        UserError: a name is unknown.
    """
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f"Unknown peer {name!r}: choose from {', '.join(known)}.{hint}")
    return [name for name in known if not names or name == OURS or name in names]


def require(asked_for: tuple[str, ...], name: str, reason: str | None) -> None:
    """Complain if a peer that was asked for by name cannot run.

    Raises:
        UserError: it cannot.
    """
    if reason is not None and name in asked_for:
        raise UserError(f"--peers {name} cannot run here: {reason}.")


@dataclass
class Bench:
    """Peers that can run here and were found correct.

    Attributes:
        benchmark: "scan", "conv" or "ssd".
        settings: what to do.
        say: shows progress.
        ready: peers by name, with their function.
    """

    benchmark: str
    settings: Settings
    say: Say
    ready: dict[str, tuple[Peer, Function]] = field(default_factory=dict)

    def check_peers(self) -> Section:
        """Fill :attr:`ready`; return the table of what was found.

        Raises:
            UserError: a peer was asked for that is not known, or cannot run here.
        """
        settings = self.settings
        peers = peers_of(self.benchmark)
        chosen = choose(settings.peers, [peer.name for peer in peers])
        rows: list[Row] = []
        for peer in peers:
            if peer.name not in chosen:
                continue
            row: Row = {
                "peer": peer.name,
                "computes": f"{peer.operation.name}: {peer.description}",
                "forward_error": None,
                "gradient_error": None,
                "found": self._why_left_out(peer) or "",
            }
            if not row["found"]:
                self.say(f"checking {peer.name}")
                try:
                    function = peer.make()
                    errors = check(peer, function, device=settings.device, dtype=settings.dtype)
                except Exception as error:  # a peer that fails is a finding, whatever its reason
                    if peer.name == OURS:
                        raise
                    row["found"] = f"not timed: {type(error).__name__}: {first_line(error)}"
                else:
                    self.ready[peer.name] = (peer, function)
                    row |= {"forward_error": errors.forward, "gradient_error": errors.gradients}
                    row["found"] = "correct"
            rows.append(row)
        columns = (
            Column("peer", "peer"),
            Column("computes", "computes"),
            Column("forward_error", "output", "error"),
            Column("gradient_error", "worst gradient", "error"),
            Column("found", "found"),
        )
        limits = " and ".join(f"{limit:.0e}" for limit in TOLERANCES[settings.dtype])
        note = (
            "Relative errors in norm against a plain float64 reference, on a small shape; "
            f"a peer is timed if they are below {limits}."
        )
        return Section("check", "Checked before timed", columns, rows, [note])

    def time(self, shape: Shape, work: Work, names: list[str] | None = None) -> dict[str, Times | str]:
        """Time peers (all, or those named) at one shape; for one that is not run, say why in a sentence."""
        settings = self.settings
        found: dict[str, Times | str] = {}
        cases: dict[str, Run] = {}
        estimates: dict[str, float] = {}
        for name, (peer, function) in self.ready.items():
            if names is not None and name not in names:
                continue
            self.say(f"{shape} {work}: {name}")
            try:
                reason = self._why_not(peer, function, shape, work)
                if reason is not None:
                    found[name] = reason
                    continue
                run = self._runner(peer, function, shape, work)
                estimate = warm_up(run, settings.device, peer.compiled)
            except RuntimeError as error:  # also a lack of memory, and what torch.compile raises
                if name == OURS:
                    raise
                found[name] = f"failed: {first_line(error)}"
                continue
            if estimate > settings.limit_s and name != OURS:
                found[name] = (
                    f"not timed: a call took {estimate:.0f} s, over the limit of {settings.limit_s:g} s"
                )
            else:
                cases[name], estimates[name] = run, estimate
        self.say(f"{shape} {work}: {len(cases)} peers in turn")
        found |= interleave(cases, estimates, settings.repeats, settings.budget_s, settings.device)
        return {name: found[name] for name in self.ready if name in found}

    def time_threads(self, shape: Shape, work: Work, counts: list[int]) -> dict[int, Times]:
        """Time ours with each of several numbers of threads, in turn."""
        run = self._runner(*self.ready[OURS], shape, work)

        def with_threads(count: int) -> Run:
            def call() -> None:
                torch.set_num_threads(count)
                run()

            return call

        cases = {str(count): with_threads(count) for count in counts}
        before = torch.get_num_threads()
        estimates = {name: warm_up(case, self.settings.device) for name, case in cases.items()}
        found = interleave(
            cases, estimates, self.settings.repeats, self.settings.budget_s, self.settings.device
        )
        torch.set_num_threads(before)
        return {int(name): times for name, times in found.items()}

    def peaks(self, shape: Shape, names: list[str]) -> dict[str, int | None]:
        """Return the peak memory of forward and backward of these peers."""
        peaks = {}
        for name in names:
            self.say(f"{shape} memory: {name}")
            peer, _ = self.ready[name]
            peaks[name] = peak_bytes(
                self.benchmark, peer, shape, device=self.settings.device, dtype=self.settings.dtype
            )
        return peaks

    def _why_left_out(self, peer: Peer) -> str | None:
        reason = peer.unavailable_because(self.settings.device)
        require(self.settings.peers, peer.name, reason)
        if reason is not None:
            return reason
        if self.settings.quick and peer.compiled and peer.name not in self.settings.peers:
            return "left out by --quick: compiling takes long"
        return None

    def _why_not(self, peer: Peer, function: Function, shape: Shape, work: Work) -> str | None:
        """Return why a peer is not run at a shape: by an estimate of its memory, and of its time."""
        free = available_memory(self.settings.device)
        needed = peer.states * 4 * shape.elements * (0.5 if work == FORWARD else 1.0)
        if free is not None and needed > MEMORY_SHARE * free:
            return f"not run: about {needed / 2**30:.0f} GiB, over half of what is free"
        if peer.name == OURS or peer.compiled or shape.seqlen < SHORTEST_PROBED:
            return None

        def time_at(seqlen: int) -> float:
            run = self._runner(peer, function, shape._replace(seqlen=seqlen), work)
            return warm_up(run, self.settings.device)

        expected = expected_time(time_at, shape.seqlen, self.settings.limit_s)
        return too_long(expected, self.settings.limit_s) if expected > self.settings.limit_s else None

    def _runner(self, peer: Peer, function: Function, shape: Shape, work: Work) -> Run:
        settings = self.settings
        dtype = DTYPES[settings.dtype]
        inputs = make_inputs(peer, shape, device=settings.device, dtype=dtype, grad=work != FORWARD)
        return runner(function, inputs, work)


def time_rows(
    found: dict[str, Times | str], elements: int | None = None, ours_of: Mapping[str, str] | None = None
) -> list[Row]:
    """Return rows for :data:`TIME_COLUMNS`, with the time of one of ``elements`` if given.

    Ratios are to :data:`OURS`, or to what ``ours_of`` names for a peer, if anything: above 1 it is slower.
    """
    rows: list[Row] = []
    for name, times in found.items():
        ours = found.get(OURS if ours_of is None else ours_of.get(name, ""))
        if isinstance(times, str):
            rows.append({"peer": name, "note": times})
            continue
        row: Row = {
            "peer": name,
            "ratio": times.median / ours.median if isinstance(ours, Times) else None,
            "ratio_of_minima": times.minimum / ours.minimum if isinstance(ours, Times) else None,
            "median_s": times.median,
            "minimum_s": times.minimum,
            "quartiles_s": list(times.quartiles),
            "samples": len(times.seconds),
        }
        if elements is not None:
            row["element_s"] = times.median / elements
        rows.append(row)
    return rows


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Let PyTorch use ``count`` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def each_setting(settings: Settings) -> Iterator[tuple[str, int]]:
    """Go through allocators and thread counts: the default allocator first, since there is no way back."""
    for allocator in settings.allocators:
        if allocator == "tuned" and not keep_freed_memory():
            raise UserError(
                "--allocator tuned needs glibc, which this system has not: use --allocator default."
            )
        for threads in settings.threads:
            with using_threads(threads):
                yield allocator, threads


def times_section(
    bench: Bench, shape: Shape, work: Work, allocator: str, threads: int, *, memory: bool
) -> Section:
    """Time all peers at one shape; with ``memory``, measure what forward and backward need as well."""
    found = bench.time(shape, work)
    rows = time_rows(found, shape.elements)
    columns: tuple[Column, ...] = (*TIME_COLUMNS, Column("element_s", "an element", "seconds", optional=True))
    if memory and work == BOTH:
        peaks = bench.peaks(shape, [name for name, times in found.items() if isinstance(times, Times)])
        ours = peaks.get(OURS)
        for row in rows:
            peak = peaks.get(row["peer"])
            row["peak_bytes"] = peak
            row["memory_ratio"] = peak / ours if peak is not None and ours else None
        columns += (
            Column("peak_bytes", "peak memory", "bytes"),
            Column("memory_ratio", "÷ ours", "ratio", optional=True),
        )
    about: Row = {
        "shape": list(shape),
        "work": work,
        "threads": threads,
        "allocator": allocator,
        "dtype": bench.settings.dtype,
    }
    title = f"{shape} {work}, {setting_title(allocator, threads)}"
    return Section("times", title, (*columns, NOTE), rows, about=about)


def compare(benchmark: str, shapes: list[Shape], settings: Settings, say: Say) -> Report:
    """Check all peers of "conv" or "ssd" and time them at these shapes, forward and with the backward.

    Raises:
        UserError: a peer was asked for that is not known, or cannot run here.
    """
    bench = Bench(benchmark, settings, say)
    sections = [bench.check_peers()]
    works: list[Work] = [FORWARD, BOTH]
    for number, (allocator, threads) in enumerate(each_setting(settings)):
        for shape in shapes:
            for work in works:
                memory = number == 0 and not settings.quick
                sections.append(times_section(bench, shape, work, allocator, threads, memory=memory))
    return Report(settings.command, describe_machine(settings.device, settings.threads), sections)


def too_long(expected: float, limit_s: float) -> str:
    """Say why a peer is not run that is expected to take longer than the limit."""
    return f"not run: about {expected:.0f} s a call or more, over the limit of {limit_s:g} s"


def setting_title(allocator: str, threads: int) -> str:
    """Return the words that a table's title ends with."""
    return f"{threads} {'thread' if threads == 1 else 'threads'}, {allocator} allocator"


def call_overhead(run: Run, device: str) -> float:
    """Return the seconds of a call that has next to nothing to do."""
    run()
    return min(time_once(run, device, 100) for _ in range(5))


def first_line(error: Exception) -> str:
    """Return the beginning of an error's message."""
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else "no message"
