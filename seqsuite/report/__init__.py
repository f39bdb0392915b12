"""Tables for people and programs: one model of what is shown, and a writer for each form it takes.

What finds something (results, benchmarks) hands over raw numbers in base units; how they look is decided
here, once.
"""

from seqsuite.report.data import as_json, from_json
from seqsuite.report.model import Column, Report, Row, Section, section_with_intervals
from seqsuite.report.write import FORMATS, write

__all__ = [
    "FORMATS",
    "Column",
    "Report",
    "Row",
    "Section",
    "as_json",
    "from_json",
    "section_with_intervals",
    "write",
]
