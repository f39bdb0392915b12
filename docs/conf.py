"""Sphinx's settings: `make docs` builds the site into build/site; a warning is an error."""

import sys
from pathlib import Path

import seqsuite

sys.path.insert(0, str(Path(__file__).parent))

from reference import write_reference

project = "seqsuite"
author = "the seqsuite authors"
release = version = seqsuite.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml"]
exclude_patterns = ["python.ipynb"]
html_theme = "furo"
html_title = "seqsuite"
html_show_copyright = False
html_extra_path = ["python.ipynb"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"

write_reference(Path(__file__).parent / "generated")
