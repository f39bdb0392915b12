"""Assembly listings: instructions, and the loops they are in."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

# Kinds of instructions beside "all": those of the unit for exponentials and reciprocals; those of the unit
# for memory and shuffles; and of these the ones that go to local memory, or are atomic.
KINDS = {
    "nvidia": {
        "special": re.compile(r"MUFU"),
        "memory": re.compile(r"LD[GSLC]|ST[GSL]|SHFL|ATOM|RED"),
        "local": re.compile(r"LDL|STL"),
        "atomic": re.compile(r"ATOM|RED(?!UX)"),
    },
    "amd": {
        "special": re.compile(r"v_(exp|log|rcp|rsq|sqrt|sin|cos)_"),
        "memory": re.compile(r"(buffer|global|flat|scratch|ds)_"),
        "local": re.compile(r"scratch_"),
        "atomic": re.compile(r"\w+_atomic"),
    },
}
LABEL = {"nvidia": re.compile(r"\s*(\.L_x_\d+):"), "amd": re.compile(r"(\.L\w+):")}
INSTRUCTION = {
    "nvidia": re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?);"),
    "amd": re.compile(r"\t([a-z]\w+)\s*(.*)"),
}
BRANCH = {"nvidia": re.compile(r"BRA"), "amd": re.compile(r"s_c?branch")}
TARGET = re.compile(r"\.L\w+")


@dataclass
class Loop:
    """A loop of a kernel, or the whole of it.

    Attributes:
        start, end: positions of its first instruction and its last.
        own: its number of instructions by kind, without those of the loops inside.
        inner: the loops inside, in the order of the listing.
    """

    start: int
    end: int
    own: Counter[str] = field(default_factory=Counter)
    inner: list["Loop"] = field(default_factory=list)

    def total(self) -> Counter[str]:
        """Return its number of instructions by kind, each counted once."""
        return sum((loop.total() for loop in self.inner), self.own)


def read_listing(text: str, vendor: str) -> Loop:
    """Return a kernel as a tree of loops. A loop is what a branch backwards repeats.

    Args:
        text: output of ``nvdisasm``, or assembly as LLVM prints it for AMD.
        vendor: "nvidia" or "amd".
    """
    labels: dict[str, int] = {}
    names: list[str] = []
    branches: list[tuple[int, str]] = []
    for line in text.splitlines():
        if label := LABEL[vendor].match(line):
            labels[label[1]] = len(names)
        elif instruction := INSTRUCTION[vendor].match(line):
            if BRANCH[vendor].match(instruction[1]) and (target := TARGET.search(instruction[2])):
                branches.append((len(names), target[0]))
            names.append(instruction[1])
    ends: dict[int, int] = {}
    for position, label_name in branches:
        start = labels.get(label_name, position)
        if start < position:
            ends[start] = max(ends.get(start, 0), position)
    whole = Loop(0, len(names))
    for start, end in sorted(ends.items(), key=lambda span: (span[0], -span[1])):
        _innermost(whole, start).inner.append(Loop(start, end))
    for position, name in enumerate(names):
        _innermost(whole, position).own.update(_kinds(name, vendor))
    return whole


def _innermost(loop: Loop, position: int) -> Loop:
    for inner in loop.inner:
        if inner.start <= position <= inner.end:
            return _innermost(inner, position)
    return loop


def _kinds(name: str, vendor: str) -> Iterable[str]:
    return ["all", *(kind for kind, pattern in KINDS[vendor].items() if pattern.match(name))]
