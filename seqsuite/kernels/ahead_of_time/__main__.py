"""Print what compilers make of the Triton kernels: ``python -m seqsuite.kernels.ahead_of_time``."""

import argparse
import json
from typing import Any

import triton

from seqsuite.kernels.ahead_of_time.compilation import TARGETS
from seqsuite.kernels.ahead_of_time.report import bounds_ms, report_variant
from seqsuite.kernels.ahead_of_time.variants import VARIANTS


def main() -> None:
    """Print the table, or with ``--json`` all of it."""
    parser = argparse.ArgumentParser(prog="seqsuite.kernels.ahead_of_time", description=__doc__)
    parser.add_argument("--operation", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--target", nargs="*", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--variant", nargs="*", help="names of variants, all if not given")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args()
    table = {
        f"{operation} {target} {name}": report_variant(variant, TARGETS[target])
        for operation in options.operation
        for target in options.target
        for name, variant in VARIANTS[operation].items()
        if options.variant is None or name in options.variant
    }
    if options.json:
        print(json.dumps({"triton": triton.__version__, **table}, indent=1))
    else:
        _print_table(table)


def _print_table(table: dict[str, dict[str, dict[str, Any]]]) -> None:
    columns = ["operation, GPU, variant", "launch", "registers", "spills", "shared"]
    columns += ["instructions an element", "bound, ms"]
    print(f"| {' | '.join(columns)} |")
    print(f"|{'---|' * len(columns)}")
    for heading, rows in table.items():
        for launch, facts in rows.items():
            bound = f"{facts['bound_ms']} ({facts['bound_by']})" if "bound_ms" in facts else "–"
            row = [heading, launch, *(str(facts[name]) for name in ("registers", "spills", "shared"))]
            print(f"| {' | '.join([*row, str(facts.get('per_element', '–')), bound])} |")
        for direction, bound_ms in bounds_ms(rows).items():
            if bound_ms:
                print(f"| {heading} | **{direction}, all** | | | | | **{bound_ms:.1f}** |")


if __name__ == "__main__":
    main()
