"""Studies: a table or figure of a paper as one TOML file, with its published numbers joined by settings."""

from seqsuite.results.studies.study import Published, Study, find_study, load_studies, read_study

__all__ = ["Published", "Study", "find_study", "load_studies", "read_study"]
