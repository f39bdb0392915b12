"""Tokens to what a person reads or hears, and back: one file a kind of data."""
