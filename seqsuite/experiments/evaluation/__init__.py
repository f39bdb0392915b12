"""Models scored: on a task's own sets, and on the tasks of the lm-evaluation-harness."""
