"""Data made ready once: fetched, checked, indexed and tokenised into files that are memory-mapped."""
