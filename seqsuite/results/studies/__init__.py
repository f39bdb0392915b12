"""Studies: a table or figure of a paper as one TOML file, with its published numbers joined by settings."""

from seqsuite.results.studies.study import Published, Study, load_studies, read_study

__all__ = ["Published", "Study", "load_studies", "read_study"]
