"""The card of an architecture: a fixed battery of tests, what models scored on it, and how that is shown."""
